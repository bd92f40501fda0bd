//! What the exit code says.

use std::process::ExitCode;

use crate::client::ClientError;

/// How a command that asks a daemon ended. Also in `netqueue help` and the man pages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// Asked and answered.
    Good = 0,
    /// Answered, and it is bad news: netqueue is not ready, not exact, or there is no such listener.
    BadNews = 1,
    /// The command line is wrong, whether clap or the daemon says so.
    Usage = 2,
    /// There is no answer: no daemon, or not one this version understands.
    NoAnswer = 3,
}

/// The table in the help.
pub const HELP: &str = "Exit codes: 0 answered; 1 answered, and it is bad news (not ready, not exact, no such listener); \
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
