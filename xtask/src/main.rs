//! `cargo xtask`: sets up, builds, runs and tests netqueue.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "the tasks report on the terminal")]
mod bench;
mod build;
mod cases;
mod dashboards;
mod debian;
mod dist;
mod process;
mod run;
mod setup;
mod test;
mod tidy;
mod vm;
mod workspace;

use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};
use nix::sys::signal::{SigHandler, Signal, signal};

use crate::workspace::Workspace;

/// Set up, build, run and test netqueue.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Arguments {
    #[command(subcommand)]
    task: Task,
}

#[derive(Debug, Subcommand)]
enum Task {
    /// Get what builds and guests need; does nothing twice.
    Setup {
        /// Kernels to fetch as well, by row: 5.10, 6.1, 6.12, 7.2; all of them when none is named.
        #[arg(long = "kernel", value_name = "ROW")]
        kernels: Vec<String>,
    },
    /// Build the netqueue binary; its path is the last line printed.
    Build(build::Flavour),
    /// Run every check, and the lab on every kernel; the last line gives the totals.
    Test(test::Options),
    /// Write the Grafana dashboards.
    Dashboards,
    /// Make everything that is handed out: binary, packages, container image, bill of materials, licences.
    Dist(dist::Options),
    /// Check what ARCHITECTURE.md promises and a machine can check.
    Tidy,
    /// Run the daemon here, or in a guest where this host cannot attach.
    Run(run::Options),
    /// Count the instructions netqueue adds to a connection, a dropped SYN and a data packet, in guests.
    Bench(bench::Options),
    /// Re-enact the cases of the corpus in guests and judge what netqueue says of them.
    Cases(cases::Options),
    /// Boot stock kernels and run netqueue in them.
    Vm(vm::Options),
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    // SAFETY: restores the default, no handler is installed. `cargo xtask ... | head` ends quietly instead
    // of
    // in a panic.
    let restored = unsafe { signal(Signal::SIGPIPE, SigHandler::SigDfl) };
    if let Err(error) = restored {
        eprintln!("warning: a closed pipe will be reported as a panic: {error}");
    }
    match Workspace::find().and_then(|workspace| perform(&workspace, arguments.task)) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn perform(workspace: &Workspace, task: Task) -> Result<ExitCode> {
    match task {
        Task::Setup { kernels } => {
            setup::ensure_all(workspace, &vm::kernels::choose(&kernels)?)?;
            Ok(ExitCode::SUCCESS)
        }
        Task::Build(flavour) => {
            let binary = build::netqueue(workspace, flavour)?;
            println!("{}", binary.display());
            Ok(ExitCode::SUCCESS)
        }
        Task::Dashboards => {
            dashboards::write(workspace)?;
            Ok(ExitCode::SUCCESS)
        }
        Task::Dist(options) => {
            dist::command(workspace, &options)?;
            Ok(ExitCode::SUCCESS)
        }
        Task::Bench(options) => bench::command(workspace, &options),
        Task::Run(options) => run::command(workspace, &options),
        Task::Test(options) => test::command(workspace, &options),
        Task::Tidy => tidy::command(workspace),
        Task::Cases(options) => cases::command(workspace, &options),
        Task::Vm(options) => vm::command(workspace, &options),
    }
}
