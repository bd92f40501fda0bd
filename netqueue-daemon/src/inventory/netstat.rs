//! The kernel's own counters of one network namespace, from its netstat and snmp files.

use std::{fs, io, path::Path};

use crate::domain::{KernelCounter, PerCounter};

/// Why the counters are not known.
#[derive(Debug, thiserror::Error)]
pub enum NetstatError {
    /// A file cannot be read.
    #[error("cannot read {file}: {source}")]
    Read {
        /// Which.
        file: String,
        /// Why.
        source: io::Error,
    },
    /// A counter is not in its file.
    #[error("{group} {counter} is not in this kernel's netstat and snmp files")]
    Missing {
        /// The line it should stand on.
        group: &'static str,
        /// Its name.
        counter: &'static str,
    },
}

/// The counters of one namespace.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Those netqueue accounts for.
    pub kernel: PerCounter<u64>,
    /// Those that tell one namespace from its successor: packets in and out, as IP and as TCP counts them.
    pub traffic: [u64; 4],
}

/// Reads the counters from a directory like /proc/1/net.
///
/// # Errors
/// A file cannot be read, or lacks a counter.
pub fn read(directory: impl AsRef<Path>) -> Result<PerCounter<u64>, NetstatError> {
    read_all(directory).map(|counters| counters.kernel)
}

/// Reads everything from a directory like /proc/1/net.
///
/// # Errors
/// A file cannot be read, or lacks a counter.
pub fn read_all(directory: impl AsRef<Path>) -> Result<Counters, NetstatError> {
    let mut text = String::new();
    for file in ["netstat", "snmp"] {
        let path = directory.as_ref().join(file);
        let read = fs::read_to_string(&path);
        text += &read.map_err(|source| NetstatError::Read { file: path.display().to_string(), source })?;
    }
    parse(&text)
}

const TRAFFIC: [(&str, &str); 4] =
    [("Tcp", "InSegs"), ("Tcp", "OutSegs"), ("Ip", "InReceives"), ("Ip", "OutRequests")];

/// Parses pairs of lines `Group: name name ..`, `Group: value value ..`.
fn parse(text: &str) -> Result<Counters, NetstatError> {
    let mut found = PerCounter::<Option<u64>>::default();
    let mut traffic = [0; TRAFFIC.len()];
    let mut lines = text.lines();
    while let (Some(names), Some(values)) = (lines.next(), lines.next()) {
        let (Some((group, names)), Some((_, values))) = (names.split_once(':'), values.split_once(':'))
        else {
            continue;
        };
        for (name, value) in names.split_ascii_whitespace().zip(values.split_ascii_whitespace()) {
            for counter in KernelCounter::ALL {
                if counter.as_str() == name && group_of(counter) == group {
                    found.set(counter, value.parse().ok());
                }
            }
            if let Some(index) = TRAFFIC.iter().position(|wanted| *wanted == (group, name)) {
                traffic[index] = value.parse().unwrap_or(0);
            }
        }
    }
    let mut kernel = PerCounter::default();
    for (counter, value) in found.iter() {
        let missing = NetstatError::Missing { group: group_of(counter), counter: counter.as_str() };
        kernel.set(counter, value.ok_or(missing)?);
    }
    Ok(Counters { kernel, traffic })
}

/// The line a counter stands on.
const fn group_of(counter: KernelCounter) -> &'static str {
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

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "\
TcpExt: SyncookiesSent SyncookiesRecv SyncookiesFailed EmbryonicRsts ListenOverflows ListenDrops TCPReqQFullDoCookies TCPReqQFullDrop
TcpExt: 3 2 6 4 24 25 5 1
IpExt: InNoRoutes
IpExt: 7
Ip: Forwarding InReceives OutRequests
Ip: 1 100 90
Tcp: RtoAlgorithm MaxConn InSegs OutSegs OutRsts InCsumErrors
Tcp: 1 -1 80 70 9 0
TcpExtra: OutRsts
TcpExtra: 77
";

    #[test]
    fn each_counter_is_found_by_its_own_name_and_line() {
        let counters = parse(TEXT).expect("all are there");
        let kernel = KernelCounter::ALL.map(|counter| counters.kernel.get(counter));
        assert_eq!((kernel, counters.traffic), ([24, 25, 1, 5, 3, 2, 6, 4, 9], [80, 70, 100, 90]));
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
