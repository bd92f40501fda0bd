//! The `netqueue` binary: parse, dispatch, exit code.

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use netqueue_daemon::{
    app,
    cli::doctor::{self, DoctorArgs},
    config::{Config, DaemonArgs},
    lab::{self, LabArgs},
};

/// Attributes the kernel's listen drops and resets to the listener and cause that earned them, exactly
#[derive(Debug, Parser)]
#[command(version, propagate_version = true)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Attaches to the kernel and serves metrics and the query API until stopped
    Daemon(Box<DaemonArgs>),
    /// Reports what netqueue needs from this machine and whether it has it
    Doctor(DoctorArgs),
    /// Provokes real incidents in network namespaces of its own and checks what the running daemon says of them
    Lab(LabArgs),
}

fn main() -> ExitCode {
    let done = match Arguments::parse().command {
        Command::Daemon(args) => daemon(&args),
        Command::Doctor(args) => doctor::run(args),
        Command::Lab(args) => lab::run(args),
    };
    done.unwrap_or_else(|error| {
        eprintln!("netqueue: {error:#}");
        ExitCode::FAILURE
    })
}

fn daemon(args: &DaemonArgs) -> anyhow::Result<ExitCode> {
    app::run(&Config::load(args)?)?;
    Ok(ExitCode::SUCCESS)
}
