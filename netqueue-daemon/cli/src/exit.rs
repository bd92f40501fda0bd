//! Exit codes of the commands that query a daemon.

use std::process::ExitCode;

use crate::client::ClientError;

/// The outcome of a command that queries a daemon.
/// `netqueue help` and the man pages repeat these codes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// The daemon answered.
    Good = 0,
    /// The daemon answered with bad news.
    ///
    /// Clients are harmed, it is not ready, not exact or sees nothing, or there is no such listener.
    BadNews = 1,
    /// The command line is wrong, according to clap or to the daemon.
    Usage = 2,
    /// No daemon answered, or this version does not understand the answer.
    NoAnswer = 3,
}

/// The table of exit codes in the help.
pub const HELP: &str = "Exit codes: 0 answered; 1 answered, and it is bad news (explain: clients are harmed, or netqueue sees nothing; \
                        listeners --trouble: some have dropped or reset; status: not ready or not exact; no such listener); \
                        2 wrong arguments; 3 no answer from a daemon";

impl From<&ClientError> for Exit {
    fn from(error: &ClientError) -> Self {
        if error.is_refusal() { Self::Usage } else { Self::NoAnswer }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}
