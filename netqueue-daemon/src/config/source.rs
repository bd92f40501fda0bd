//! Source of a setting, and the errors that name it.

use std::{fmt, io, path::PathBuf};

/// Source of a setting.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// Flag of the command line, without its dashes.
    Flag(&'static str),
    /// Environment variable of that flag.
    Environment(&'static str),
    /// Line of the configuration file.
    File {
        /// Key, with the names of tables before it, joined by dots.
        key: &'static str,
        /// Path of the file.
        path: PathBuf,
        /// Number of the line, from 1.
        line: usize,
    },
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flag(name) => write!(f, "--{name}"),
            Self::Environment(name) => write!(f, "environment variable {}", variable(name)),
            Self::File { key, path, line } => write!(f, "`{key}` in {}, line {line},", path.display()),
        }
    }
}

/// Returns the environment variable of a flag.
pub(super) fn variable(flag: &str) -> String {
    format!("NETQUEUE_{}", flag.replace(['.', '-'], "_").to_uppercase())
}

/// Reason why the configuration is invalid.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file does not exist or is not readable.
    #[error("cannot read the configuration file {}, given by {named_by}", path.display())]
    Unreadable {
        /// Path of the file.
        path: PathBuf,
        /// Source of that path.
        named_by: Source,
        /// Error of the system.
        source: io::Error,
    },
    /// The file is not TOML, has an unknown key, or has a value of a type that no setting has.
    #[error("configuration file {}: {message}", path.display())]
    Malformed {
        /// Path of the file.
        path: PathBuf,
        /// Description of the problem, with the line.
        message: String,
    },
    /// A setting has an invalid value.
    #[error("{given_by} is {value:?}: expected {expected}")]
    Value {
        /// Source of the value.
        given_by: Source,
        /// Invalid value.
        value: String,
        /// Description of what is accepted.
        expected: &'static str,
    },
}
