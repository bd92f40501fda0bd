//! The `netqueue` binary: parse, dispatch, exit code.

use std::process::ExitCode;

use clap::{CommandFactory as _, Parser as _};
use netqueue_cli::{client::ClientError, events, exit::Exit, explain, listeners, resets, status, tui};
use netqueue_daemon::{
    app,
    cli::{Arguments, Command, doctor, documents, record, replay::ReplayArgs},
    config::{Config, ConfigError, DaemonArgs},
};

#[expect(clippy::print_stderr, reason = "the reason why a command failed belongs on the terminal")]
fn main() -> ExitCode {
    let done = match Arguments::parse().command {
        Command::Daemon(args) => daemon(&args),
        Command::Top(args) => tui::command(args),
        Command::Record(args) => record::run(&args),
        Command::Replay(args) => replay(&args),
        Command::Listeners(args) => listeners::command(args),
        Command::Events(args) => events::command(args),
        Command::Resets(args) => resets::command(args),
        Command::Explain(args) => explain::command(args),
        Command::Status(args) => status::command(args),
        Command::Doctor(args) => doctor::run(args),
        #[cfg(feature = "lab")]
        Command::Lab(args) => netqueue_lab::run(args),
        Command::Completions(args) => Ok(documents::completions(args, Arguments::command())),
        Command::Man(args) => documents::man(&args, Arguments::command()),
    };
    done.unwrap_or_else(|error| {
        eprintln!("netqueue: {error:#}");
        exit_code(&error)
    })
}

/// Returns the exit code of a command that failed: the table of `netqueue help` holds for all of them.
fn exit_code(error: &anyhow::Error) -> ExitCode {
    if error.downcast_ref::<ConfigError>().is_some() {
        Exit::Usage.into()
    } else if let Some(error) = error.downcast_ref::<ClientError>() {
        Exit::from(error).into()
    } else {
        ExitCode::FAILURE
    }
}

fn daemon(args: &DaemonArgs) -> anyhow::Result<ExitCode> {
    app::run(&Config::load(args)?)?;
    Ok(ExitCode::SUCCESS)
}

fn replay(args: &ReplayArgs) -> anyhow::Result<ExitCode> {
    app::replay(&Config::load(&args.daemon)?, &args.recording, args.speed)?;
    Ok(ExitCode::SUCCESS)
}
