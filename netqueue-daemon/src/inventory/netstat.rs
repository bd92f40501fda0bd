//! Kernel counters of one network namespace, from its netstat and snmp files.

use std::{fs, io, path::Path};

use netqueue_domain::{PerCounter, netstat};

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
pub fn read(directory: impl AsRef<Path>) -> Result<PerCounter<u64>, NetstatError> {
    let mut text = String::new();
    for file in ["netstat", "snmp"] {
        let path = directory.as_ref().join(file);
        let read = fs::read_to_string(&path);
        text += &read.map_err(|source| NetstatError::Read { file: path.display().to_string(), source })?;
    }
    Ok(netstat::parse(&text)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_machines_files_are_understood() {
        assert!(read("/proc/self/net").is_ok());
    }
}
