//! Where a setting came from, and what to say when it is wrong.

use std::{fmt, io, path::PathBuf};

/// Where a setting came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// A flag of the command line, without its dashes.
    Flag(&'static str),
    /// The environment variable of that flag.
    Environment(&'static str),
    /// A line of the configuration file.
    File {
        /// The key, tables joined by dots.
        key: &'static str,
        /// The file.
        path: PathBuf,
        /// The line, from 1.
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

/// The environment variable that goes with a flag.
pub(super) fn variable(flag: &str) -> String {
    format!("NETQUEUE_{}", flag.replace(['.', '-'], "_").to_uppercase())
}

/// Why there is no configuration.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file is not there, or not ours to read.
    #[error("cannot read the configuration file {}, given by {named_by}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Who named it.
        named_by: Source,
        /// Why.
        source: io::Error,
    },
    /// The file is no TOML, has an unknown key, or something that is no value.
    #[error("configuration file {}: {message}", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What, and at which line.
        message: String,
    },
    /// A setting's value is not what it should be.
    #[error("{given_by} is {value:?}: expected {expected}")]
    Value {
        /// Which setting.
        given_by: Source,
        /// Its value.
        value: String,
        /// What would be right.
        expected: &'static str,
    },
}
