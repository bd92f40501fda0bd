//! The `netqueue` binary: parse, dispatch, exit code.

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use netqueue_daemon::{
    app,
    cli::{
        doctor::{self, DoctorArgs},
        record::{self, RecordArgs},
        replay::ReplayArgs,
    },
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
    /// Writes down everything a running daemon observes, to be replayed elsewhere
    Record(RecordArgs),
    /// Runs the whole daemon on a recording: needs no privileges and touches no kernel
    Replay(Box<ReplayArgs>),
    /// Reports what netqueue needs from this machine and whether it has it
    Doctor(DoctorArgs),
    /// Provokes real incidents in network namespaces of its own and checks what the running daemon says of them
    Lab(LabArgs),
}

fn main() -> ExitCode {
    let done = match Arguments::parse().command {
        Command::Daemon(args) => daemon(&args),
        Command::Record(args) => record::run(&args),
        Command::Replay(args) => replay(&args),
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

fn replay(args: &ReplayArgs) -> anyhow::Result<ExitCode> {
    app::replay(&Config::load(&args.daemon)?, &args.recording, args.speed)?;
    Ok(ExitCode::SUCCESS)
}
