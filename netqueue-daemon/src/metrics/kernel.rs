//! The kernel's own counters beside what could not be attributed of them.

use super::family::{Family, Kind, Scraped, count};
use crate::domain::{CounterBalance, Snapshot};

const KERNEL: Family<2> = Family {
    name: "netqueue_kernel_counter_total",
    help: "The kernel's own counter, as /proc/net/netstat and /proc/net/snmp of the namespace show it.",
    kind: Kind::Counter,
    labels: ["netns", "counter"],
};

const UNATTRIBUTED: Family<2> = Family {
    name: "netqueue_unattributed",
    help: "What the kernel counted since netqueue attached less what is attributed; anything but 0 is a defect or a loss.",
    kind: Kind::Gauge,
    labels: ["netns", "counter"],
};

/// The families of every namespace that is compared.
pub(super) fn families(snapshot: &Snapshot) -> prometheus::Result<Vec<Scraped>> {
    let of_each = |family: &Family<2>, value: fn(&CounterBalance) -> f64| {
        family.with(snapshot.balances.iter().flat_map(|balance| {
            let netns = snapshot.netns_name(balance.netns);
            balance.counters.iter().map(move |(counter, balance)| {
                ([netns.clone(), counter.as_str().to_owned()], value(&balance))
            })
        }))
    };
    Ok(vec![
        of_each(&KERNEL, |balance| count(balance.kernel))?,
        of_each(&UNATTRIBUTED, |balance| balance.residual as f64)?,
    ])
}
