//! Text of a network namespace's netstat and snmp files, in which the kernel shows its counters.

use std::{error::Error, fmt};

use super::{KernelCounter, PerCounter};

/// A counter that is not in the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MissingCounter {
    /// Group of counters, that is the label of the line, in which it is expected.
    pub group: &'static str,
    /// Name of the counter.
    pub counter: &'static str,
}

impl fmt::Display for MissingCounter {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} {} is not in this kernel's netstat and snmp files", self.group, self.counter)
    }
}

impl Error for MissingCounter {}

/// Parses pairs of lines `Group: name name ..`, `Group: value value ..`.
///
/// # Errors
/// A counter is missing.
pub fn parse(text: &str) -> Result<PerCounter<u64>, MissingCounter> {
    let mut counters = PerCounter::default();
    for counter in KernelCounter::ALL {
        let (group, name) = (group(counter), counter.as_str());
        let value = value_of(text, group, name).ok_or(MissingCounter { group, counter: name })?;
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

/// Returns the value of one counter of a group, that is of the lines with that label.
#[must_use]
pub fn value_of(text: &str, group: &str, name: &str) -> Option<u64> {
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
}
