//! `netqueue lab`: provokes the incidents that netqueue explains, in network namespaces of its own.
//! It uses real sockets, and compares the running daemon's answers with the kernel's counters.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "the lab reports on the terminal")]
mod cases;
mod check;
mod client;
mod cost;
mod counters;
mod demo;
mod diagnosis;
mod endings;
mod expectation;
mod experiments;
mod host_setting;
mod metrics;
mod netlink;
mod netns;
mod observation;
mod own_daemon;
mod packet;
mod process;
mod programs;
mod raw;
mod report;
mod run;
#[cfg(test)]
mod samples;
mod scale;
mod sockets;
mod ss;
mod sys;
mod sysctl;
mod tcp_table;
mod trial;
mod verdict;
mod watch;
mod wire;
mod worker;

use std::process::ExitCode;

use anyhow::Result;
use clap::{Args, Subcommand};

/// The arguments of `netqueue lab`.
#[derive(Debug, Args)]
pub struct LabArgs {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Lists the experiments
    List {
        /// Prints JSON
        #[arg(long)]
        json: bool,
    },
    /// Provokes incidents and compares netqueue's answers with the kernel's counters
    Run(run::RunArgs),
    /// Generates healthy and unhealthy traffic until it is stopped, as a demonstration of the metrics
    Demo,
    /// Measures the cost of a connect, accept and close on loopback, of a dropped SYN, or of a data packet,
    /// in a network namespace of its own.
    ///
    /// Run it with the daemon stopped and again with the daemon attached: the difference is netqueue's
    /// overhead. The unit is time stamp counter ticks on x86-64, nanoseconds elsewhere. In a guest of QEMU
    /// with `-icount shift=0,sleep=off` and one CPU the counter counts instructions, and a run repeats to
    /// well under 1 %.
    Cost(cost::CostArgs),
    /// Measures the load that a host full of listeners puts on the daemon: memory, inventory passes, pages.
    ///
    /// The listeners are in a network namespace of the lab's own. The daemon's --max-series must leave
    /// room for them.
    Scale(scale::ScaleArgs),
    /// Re-enacts one case of the corpus beside a running daemon, and records what the daemon observes
    Case(cases::CaseArgs),
    /// One of the processes of an experiment
    #[command(hide = true)]
    Worker(worker::WorkerArgs),
}

/// Runs `netqueue lab`.
pub fn run(args: LabArgs) -> Result<ExitCode> {
    match args.action {
        Action::List { json } => report::list(experiments::ALL, json),
        Action::Run(args) => run::run(&args),
        Action::Demo => demo::run(),
        Action::Cost(args) => cost::run(&args),
        Action::Scale(args) => scale::run(&args),
        Action::Case(args) => cases::run(&args),
        Action::Worker(args) => worker::run(&args),
    }
}
