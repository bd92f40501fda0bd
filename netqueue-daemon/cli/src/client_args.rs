//! Code shared by every command that queries a daemon: its address, its output, its exit code.

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

/// The daemon to query, and the credentials it may ask for.
#[derive(Clone, Debug, Args)]
pub struct DaemonAddress {
    /// The daemon to query
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
}

/// The daemon to query, and the form of the output.
#[derive(Clone, Debug, Args)]
pub struct ClientArgs {
    /// The daemon to query.
    #[command(flatten)]
    pub daemon: DaemonAddress,
    /// Prints JSON: the daemon's answer, unchanged
    #[arg(long, help_heading = "Daemon and output")]
    pub json: bool,
    /// When to use colours
    #[arg(long, value_enum, value_name = "WHEN", default_value_t, help_heading = "Daemon and output")]
    pub color: Colour,
}

/// The output stream of a report, and the width of its lines.
#[derive(Debug)]
pub struct Output {
    /// The output stream.
    pub out: Out,
    /// Columns of the terminal; `None` if lines may be of any length.
    pub width: Option<usize>,
}

/// The reason why a command failed.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The daemon gave no usable answer.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// The output stream cannot be written to.
    #[error("cannot write")]
    Write(#[from] io::Error),
    /// The answer cannot be written as JSON.
    #[error("cannot write JSON")]
    Json(#[from] serde_json::Error),
}

impl DaemonAddress {
    /// Creates the client of the daemon that the command line names.
    ///
    /// # Errors
    /// Fails if a file named on the command line is unreadable or has the wrong content.
    pub fn client(&self) -> Result<Client, ClientError> {
        Client::new(self.server.clone(), &self.access)
    }
}

impl ClientArgs {
    /// Creates the client of the daemon that the command line names.
    ///
    /// # Errors
    /// Fails if a file named on the command line is unreadable or has the wrong content.
    pub fn client(&self) -> Result<Client, ClientError> {
        self.daemon.client()
    }

    /// Standard output, with the colours the user chose and the terminal's width.
    #[must_use]
    pub fn paper(&self) -> Output {
        Output { out: terminal::out(self.color), width: terminal::width() }
    }
}

impl Output {
    /// Writes the daemon's answer as indented JSON.
    ///
    /// # Errors
    /// Fails if the stream cannot be written to.
    pub fn json(&mut self, value: &Value) -> Result<(), Failure> {
        serde_json::to_writer_pretty(&mut self.out, value)?;
        writeln!(self.out)?;
        Ok(())
    }

    /// Writes running text, wrapped to the width.
    ///
    /// # Errors
    /// Fails if the stream cannot be written to.
    pub fn text(&mut self, indent: &str, text: &str) -> io::Result<()> {
        self.item(indent, indent, text)
    }

    /// Writes text whose first line begins with `bullet` and whose other lines begin with `indent`.
    ///
    /// # Errors
    /// Fails if the stream cannot be written to.
    pub fn item(&mut self, bullet: &str, indent: &str, text: &str) -> io::Result<()> {
        /// Wider lines are hard to read.
        const READABLE: usize = 100;
        let width = self.width.unwrap_or(READABLE).min(READABLE);
        let options = textwrap::Options::new(width).initial_indent(bullet).subsequent_indent(indent);
        writeln!(self.out, "{}", textwrap::fill(text, options))
    }

    /// Prints the warnings that the daemon attached to its answer.
    ///
    /// # Errors
    /// Fails if the stream cannot be written to.
    pub fn warnings(&mut self, warnings: &[String]) -> io::Result<()> {
        for warning in warnings {
            let warning = terminal::plain(warning);
            write!(self.out, "{0}!{0:#} ", style::WARN)?;
            self.text("", &warning)?;
        }
        Ok(())
    }
}

/// Runs a command to its end; returns its exit code, and prints a failure to standard error.
///
/// # Errors
/// Fails if the runtime cannot start, or if the output cannot be written (a closed pipe is no failure).
pub fn run(work: impl Future<Output = Result<Exit, Failure>>) -> anyhow::Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let done = runtime.context("cannot start")?.block_on(work);
    Ok(match done {
        Ok(exit) => exit,
        // The reader closed the pipe (`| head`), so it needs no more output.
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
