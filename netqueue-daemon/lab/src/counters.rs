//! The kernel's own counters of a network namespace: the reference for every experiment.

use std::collections::BTreeMap;
use std::fs;

use anyhow::{Context, Result};

pub(super) use netqueue_domain::KernelCounter as Counter;
use netqueue_domain::{PerCounter, netstat};

/// One value per counter.
pub(super) type Counters = PerCounter<u64>;

/// Reads the counters of the calling thread's network namespace.
/// `/proc/net` would be the main thread's.
pub(super) fn of_this_thread() -> Result<Counters> {
    let read = |file: &str| fs::read_to_string(format!("/proc/thread-self/net/{file}"));
    Ok(netstat::parse(&(read("netstat")? + &read("snmp")?))?)
}

/// Reads another counter of the `TcpExt` line: evidence of an incident that netqueue does not report.
pub(super) fn tcp_ext(name: &str) -> Result<u64> {
    let text = fs::read_to_string("/proc/thread-self/net/netstat")?;
    netstat::value_of(&text, "TcpExt", name).with_context(|| format!("this kernel has no counter {name}"))
}

/// Reads a counter of the `Tcp` line of the calling thread's network namespace.
pub(super) fn tcp(name: &str) -> Result<u64> {
    let text = fs::read_to_string("/proc/thread-self/net/snmp")?;
    netstat::value_of(&text, "Tcp", name).with_context(|| format!("this kernel has no counter {name}"))
}

/// Computes the counts since `earlier`. Counters only grow, and wrap like the kernel's unsigned long.
pub(super) fn since(now: &Counters, earlier: &Counters) -> Counters {
    Counters::from_fn(|counter| now.get(counter).wrapping_sub(earlier.get(counter)))
}

/// Adds the counts of two namespaces.
pub(super) fn sum(one: &Counters, other: &Counters) -> Counters {
    Counters::from_fn(|counter| one.get(counter) + other.get(counter))
}

/// Maps counter names to values, for reports.
pub(super) fn by_name(counters: &Counters) -> BTreeMap<&'static str, u64> {
    counters.iter().map(|(counter, value)| (counter.as_str(), value)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_counter_is_found_by_its_whole_name() {
        let text =
            "TcpExt: TCPDeferAcceptDropped TCPDeferAcceptDrop\nTcpExt: 1 8\nIpExt: InNoRoutes\nIpExt: 7\n";
        assert_eq!(netstat::value_of(text, "TcpExt", "TCPDeferAcceptDrop"), Some(8));
        assert_eq!(netstat::value_of(text, "TcpExt", "InNoRoutes"), None);
    }

    #[test]
    fn a_delta_survives_the_wrap_of_a_counter() {
        let before = Counters::from_fn(|_| u64::MAX);
        let after = Counters::from_fn(|counter| if counter == Counter::ListenDrops { 2 } else { u64::MAX });
        let delta = since(&after, &before);
        assert_eq!((delta.get(Counter::ListenDrops), delta.get(Counter::OutRsts)), (3, 0));
    }
}
