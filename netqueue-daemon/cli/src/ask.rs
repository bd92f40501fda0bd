//! What every command that asks a daemon shares: where it is, how it prints, how it ends.

use std::{
    io::{self, Write},
    process::ExitCode,
};

use anyhow::Context as _;
use clap::Args;
use serde_json::Value;

use super::{
    exit::Exit,
    style,
    terminal::{self, Colour, Out},
};
use crate::client::{Access, Client, ClientError, Server};

/// Which daemon, and how to print.
#[derive(Clone, Debug, Args)]
pub struct Asking {
    /// The daemon to ask
    #[arg(
        long,
        env = "NETQUEUE_SERVER",
        value_name = "URL",
        default_value = "http://127.0.0.1:10124",
        help_heading = "Daemon and output"
    )]
    pub server: Server,
    #[command(flatten)]
    access: Access,
    /// Prints JSON: the API's own answer
    #[arg(long, help_heading = "Daemon and output")]
    pub json: bool,
    /// When to use colours
    #[arg(long, value_enum, value_name = "WHEN", default_value_t, help_heading = "Daemon and output")]
    pub color: Colour,
}

/// Where a report goes, and how wide it may be.
#[derive(Debug)]
pub struct Paper {
    /// The stream.
    pub out: Out,
    /// Its columns.
    pub width: Option<usize>,
}

/// Why a command ended before it was done.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// No usable answer.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// Nowhere to write to.
    #[error("cannot write")]
    Write(#[from] io::Error),
    /// Nothing that could be printed as JSON.
    #[error("cannot write JSON")]
    Json(#[from] serde_json::Error),
}

impl Asking {
    /// The daemon's client.
    ///
    /// # Errors
    /// The command line names files that are not what they should be.
    pub fn client(&self) -> Result<Client, ClientError> {
        Client::new(self.server.clone(), &self.access)
    }

    /// Standard output as it is wanted.
    #[must_use]
    pub fn paper(&self) -> Paper {
        Paper { out: terminal::out(self.color), width: terminal::width() }
    }
}

impl Paper {
    /// Writes the daemon's answer as it is.
    ///
    /// # Errors
    /// Where it cannot be written.
    pub fn json(&mut self, value: &Value) -> Result<(), Failure> {
        serde_json::to_writer_pretty(&mut self.out, value)?;
        writeln!(self.out)?;
        Ok(())
    }

    /// Writes running text, broken to the width.
    ///
    /// # Errors
    /// Where it cannot be written.
    pub fn text(&mut self, indent: &str, text: &str) -> io::Result<()> {
        self.item(indent, indent, text)
    }

    /// Text whose first line begins with `bullet` and the others with `indent`.
    ///
    /// # Errors
    /// Where it cannot be written.
    pub fn item(&mut self, bullet: &str, indent: &str, text: &str) -> io::Result<()> {
        /// Wider lines are hard to read.
        const READABLE: usize = 100;
        let width = self.width.unwrap_or(READABLE).min(READABLE);
        let options = textwrap::Options::new(width).initial_indent(bullet).subsequent_indent(indent);
        writeln!(self.out, "{}", textwrap::fill(text, options))
    }

    /// What the daemon wants known beside its answer.
    ///
    /// # Errors
    /// Where it cannot be written.
    pub fn warnings(&mut self, warnings: &[String]) -> io::Result<()> {
        for warning in warnings {
            let warning = terminal::plain(warning);
            write!(self.out, "{0}!{0:#} ", style::WARN)?;
            self.text("", &warning)?;
        }
        Ok(())
    }
}

/// Runs what asks, and turns its end into an exit code and words on standard error.
///
/// # Errors
/// The runtime cannot be started.
pub fn run(work: impl Future<Output = Result<Exit, Failure>>) -> anyhow::Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let done = runtime.context("cannot start")?.block_on(work);
    Ok(match done {
        Ok(exit) => exit,
        // The reader went away (`| head`): it has what it wanted.
        Err(Failure::Write(error)) if error.kind() == io::ErrorKind::BrokenPipe => Exit::Good,
        Err(Failure::Json(error)) if error.io_error_kind() == Some(io::ErrorKind::BrokenPipe) => Exit::Good,
        Err(Failure::Client(error)) => {
            let exit = Exit::from(&error);
            eprintln!("netqueue: {}", terminal::plain(&error.to_string()));
            exit
        }
        Err(failure) => return Err(failure.into()),
    }
    .into())
}
