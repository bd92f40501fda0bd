//! `netqueue lab`: provokes the incidents netqueue explains, with real sockets in network namespaces of its own, and
//! holds what the running daemon says against the kernel's counters.

mod api;
mod check;
mod client;
mod cost;
mod counters;
mod demo;
mod diagnosis;
mod endings;
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
mod scale;
mod scene;
mod sockets;
mod ss;
mod sys;
mod sysctl;
mod tcp_table;
mod trial;
mod verdict;
mod watch;
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
    /// Provokes incidents and compares what netqueue says with what the kernel counted
    Run(run::RunArgs),
    /// Keeps healthy and unhealthy traffic going until it is stopped, for a look at the metrics
    Demo,
    /// Measures what one connect, accept and close on loopback costs, in a network namespace of its own; or a dropped SYN, or
    /// a data packet.
    ///
    /// Run it with the daemon stopped and again with the daemon attached: the difference is what netqueue adds. In time stamp counter ticks on x86-64, in nanoseconds elsewhere. In a guest of QEMU with `-icount
    /// shift=0,sleep=off` and one CPU the counter counts instructions, and a run repeats to well under 1 %.
    Cost(cost::CostArgs),
    /// Measures what a host full of listeners costs the daemon that is asked: memory, a pass of its inventory, its pages.
    ///
    /// It opens them in a network namespace of its own. The daemon's --max-series must leave room for them.
    Scale(scale::ScaleArgs),
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
        Action::Worker(args) => worker::run(&args),
    }
}
