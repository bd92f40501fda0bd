//! Kernel counters of one network namespace, from its netstat and snmp files.

use std::{fs, io, path::Path};

use netqueue_domain::{BesideValues, PerCounter, netstat};

/// Counters of one network namespace at one reading.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NetnsCounters {
    /// Counters that netqueue attributes.
    pub kernel: PerCounter<u64>,
    /// Counters that it reads along with them, from the same text.
    pub beside: BesideValues,
}

/// Reason why the counters cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum NetstatError {
    /// A file cannot be read.
    #[error("cannot read {file}: {source}")]
    Read {
        /// Path of the file.
        file: String,
        /// Error of the system.
        source: io::Error,
    },
    /// A counter is not in its file.
    #[error(transparent)]
    Missing(#[from] netstat::MissingCounter),
}

/// Reads the counters from a directory like /proc/1/net.
///
/// # Errors
/// A file cannot be read, or lacks a counter.
pub fn read(directory: impl AsRef<Path>) -> Result<NetnsCounters, NetstatError> {
    let mut text = String::new();
    for file in ["netstat", "snmp"] {
        let path = directory.as_ref().join(file);
        let read = fs::read_to_string(&path);
        text += &read.map_err(|source| NetstatError::Read { file: path.display().to_string(), source })?;
    }
    Ok(NetnsCounters { kernel: netstat::parse(&text)?, beside: BesideValues::parse(&text) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_machines_files_are_understood() {
        assert!(read("/proc/self/net").is_ok());
    }
}
