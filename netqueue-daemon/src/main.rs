//! The `netqueue` binary: parse, dispatch, exit code.

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use netqueue_daemon::cli::doctor;

/// Attributes the kernel's listen drops and resets to the listener and cause that earned them, exactly
#[derive(Debug, Parser)]
#[command(version, propagate_version = true)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Reports what netqueue needs from this machine and whether it has it
    Doctor(doctor::DoctorArgs),
}

fn main() -> anyhow::Result<ExitCode> {
    match Arguments::parse().command {
        Command::Doctor(args) => doctor::run(args),
    }
}
