//! The kernel's own count of one network namespace: the seven counters netqueue must account for, read from
//! `/proc/.../net/netstat` and `/proc/.../net/snmp`.

use std::collections::BTreeMap;
use std::fs;

use anyhow::{Context, Result};

/// One of the counters netqueue attributes to listeners; the names are the kernel's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Counter {
    ListenOverflows,
    ListenDrops,
    TcpReqQFullDrop,
    TcpReqQFullDoCookies,
    SyncookiesSent,
    EmbryonicRsts,
    OutRsts,
}

impl Counter {
    pub(super) const ALL: [Self; 7] = [
        Self::ListenOverflows,
        Self::ListenDrops,
        Self::TcpReqQFullDrop,
        Self::TcpReqQFullDoCookies,
        Self::SyncookiesSent,
        Self::EmbryonicRsts,
        Self::OutRsts,
    ];

    /// The name in /proc/net/netstat, /proc/net/snmp and netqueue's API.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::ListenOverflows => "ListenOverflows",
            Self::ListenDrops => "ListenDrops",
            Self::TcpReqQFullDrop => "TCPReqQFullDrop",
            Self::TcpReqQFullDoCookies => "TCPReqQFullDoCookies",
            Self::SyncookiesSent => "SyncookiesSent",
            Self::EmbryonicRsts => "EmbryonicRsts",
            Self::OutRsts => "OutRsts",
        }
    }

    /// The line of the file the counter stands on.
    const fn group(self) -> &'static str {
        match self {
            Self::OutRsts => "Tcp",
            _ => "TcpExt",
        }
    }
}

/// A value for each counter.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Counters([u64; Counter::ALL.len()]);

impl Counters {
    pub(super) fn get(&self, counter: Counter) -> u64 {
        self.0[counter as usize]
    }

    pub(super) fn add(&mut self, counter: Counter, value: u64) {
        self.0[counter as usize] = self.0[counter as usize].wrapping_add(value);
    }

    /// What was counted since `earlier`. Kernel counters only grow, and wrap like the kernel's unsigned longs.
    pub(super) fn since(&self, earlier: &Self) -> Self {
        let mut delta = Self::default();
        for counter in Counter::ALL {
            delta.add(counter, self.get(counter).wrapping_sub(earlier.get(counter)));
        }
        delta
    }

    /// Reads the counters of the calling thread's network namespace.
    pub(super) fn of_this_thread() -> Result<Self> {
        // /proc/net is the main thread's namespace; thread-self is ours.
        let mut text = String::new();
        for file in ["/proc/thread-self/net/netstat", "/proc/thread-self/net/snmp"] {
            text += &fs::read_to_string(file).with_context(|| format!("cannot read {file}"))?;
        }
        parse(&text)
    }

    /// The counters by name, for reports.
    pub(super) fn by_name(&self) -> BTreeMap<&'static str, u64> {
        Counter::ALL.map(|counter| (counter.name(), self.get(counter))).into()
    }
}

/// Parses pairs of lines "Group: name name ..." and "Group: value value ...".
fn parse(text: &str) -> Result<Counters> {
    let mut counters = Counters::default();
    for counter in Counter::ALL {
        let value = value_of(text, counter.group(), counter.name()).with_context(|| {
            format!("{} {} is not in this kernel's netstat and snmp", counter.group(), counter.name())
        })?;
        counters.add(counter, value);
    }
    Ok(counters)
}

fn value_of(text: &str, group: &str, name: &str) -> Option<u64> {
    let mut rows = text.lines().filter_map(|line| {
        let (head, rest) = line.split_once(':')?;
        (head == group).then(|| rest.split_ascii_whitespace())
    });
    let names = rows.next()?;
    let values = rows.next()?;
    names.zip(values).find(|(candidate, _)| *candidate == name)?.1.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "\
TcpExt: SyncookiesSent SyncookiesRecv EmbryonicRsts ListenOverflows ListenDrops TCPReqQFullDoCookies TCPReqQFullDrop
TcpExt: 3 0 4 24 25 5 1
IpExt: InNoRoutes
IpExt: 7
Ip: Forwarding
Ip: 1
Tcp: RtoAlgorithm MaxConn OutRsts InCsumErrors
Tcp: 1 -1 9 0
TcpExtra: OutRsts
TcpExtra: 77
";

    #[test]
    fn each_counter_is_found_by_its_own_name_and_line() {
        let counters = parse(TEXT).unwrap();
        let values = Counter::ALL.map(|counter| counters.get(counter));
        assert_eq!(values, [24, 25, 1, 5, 3, 4, 9]);
    }

    #[test]
    fn a_missing_counter_is_named() {
        let error = parse(&TEXT.replace("EmbryonicRsts", "Renamed")).unwrap_err();
        assert!(error.to_string().contains("EmbryonicRsts"), "{error}");
    }

    #[test]
    fn a_delta_survives_the_wrap_of_a_counter() {
        let mut before = Counters::default();
        before.add(Counter::ListenDrops, u64::MAX);
        let mut after = before;
        after.add(Counter::ListenDrops, 3);
        assert_eq!(after.since(&before).get(Counter::ListenDrops), 3);
    }
}
