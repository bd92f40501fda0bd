//! Kernel counters of one network namespace, from its netstat and snmp files.

use std::{fs, io, path::Path};

use netqueue_domain::{KernelCounter, PerCounter};

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
    #[error("{group} {counter} is not in this kernel's netstat and snmp files")]
    Missing {
        /// Group of counters, that is the label of the line, in which it is expected.
        group: &'static str,
        /// Name of the counter.
        counter: &'static str,
    },
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
    parse(&text)
}

/// Parses pairs of lines `Group: name name ..`, `Group: value value ..`.
fn parse(text: &str) -> Result<PerCounter<u64>, NetstatError> {
    let mut counters = PerCounter::default();
    for counter in KernelCounter::ALL {
        let (group, name) = (group(counter), counter.as_str());
        let value = value_of(text, group, name).ok_or(NetstatError::Missing { group, counter: name })?;
        counters.set(counter, value);
    }
    Ok(counters)
}

/// Returns the group of a counter, that is the label of its line.
const fn group(counter: KernelCounter) -> &'static str {
    match counter {
        KernelCounter::OutRsts => "Tcp",
        KernelCounter::ListenOverflows
        | KernelCounter::ListenDrops
        | KernelCounter::ReqQFullDrop
        | KernelCounter::ReqQFullDoCookies
        | KernelCounter::SyncookiesSent
        | KernelCounter::SyncookiesRecv
        | KernelCounter::SyncookiesFailed
        | KernelCounter::EmbryonicRsts => "TcpExt",
    }
}

fn value_of(text: &str, group: &str, name: &str) -> Option<u64> {
    let mut rows = text.lines().filter_map(|line| {
        let (head, rest) = line.split_once(':')?;
        (head == group).then(|| rest.split_ascii_whitespace())
    });
    let (names, values) = (rows.next()?, rows.next()?);
    names.zip(values).find(|(candidate, _)| *candidate == name)?.1.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "\
TcpExt: SyncookiesSent SyncookiesRecv SyncookiesFailed EmbryonicRsts ListenOverflows ListenDrops TCPReqQFullDoCookies TCPReqQFullDrop
TcpExt: 3 2 6 4 24 25 5 1
IpExt: InNoRoutes
IpExt: 7
Tcp: RtoAlgorithm MaxConn OutRsts InCsumErrors
Tcp: 1 -1 9 0
TcpExtra: OutRsts
TcpExtra: 77
";

    #[test]
    fn each_counter_is_found_by_its_own_name_and_line() {
        let counters = parse(TEXT).expect("all are there");
        assert_eq!(KernelCounter::ALL.map(|counter| counters.get(counter)), [24, 25, 1, 5, 3, 2, 6, 4, 9]);
    }

    #[test]
    fn a_missing_counter_is_named() {
        let error = parse(&TEXT.replace("EmbryonicRsts", "Renamed")).expect_err("one is missing");
        assert_eq!(error.to_string(), "TcpExt EmbryonicRsts is not in this kernel's netstat and snmp files");
    }

    #[test]
    fn this_machines_files_are_understood() {
        assert!(read("/proc/self/net").is_ok());
    }
}
