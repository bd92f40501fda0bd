//! The kernel's own counters beside what could not be attributed of them.

use std::collections::BTreeMap;

use super::family::{Family, Kind, Scraped, count};
use crate::domain::{CounterBalance, NamespaceBalance, Snapshot};

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

const UNCERTAIN: Family<2> = Family {
    name: "netqueue_uncertain",
    help: "What was set aside when a namespace was first seen: counted before netqueue attached, or charged to a namespace that had its inode number before.",
    kind: Kind::Gauge,
    labels: ["netns", "counter"],
};

/// The families of every namespace that is compared. Those of one name are one.
pub(super) fn families(snapshot: &Snapshot) -> prometheus::Result<Vec<Scraped>> {
    let mut balances = BTreeMap::<&str, NamespaceBalance>::new();
    for namespace in snapshot.namespaces.iter() {
        let Some(balance) = namespace.balance else { continue };
        balances.entry(&namespace.name).and_modify(|sum| *sum = sum.and(&balance)).or_insert(balance);
    }
    let of_each = |family: &Family<2>, value: fn(&CounterBalance) -> f64| {
        family.with(balances.iter().flat_map(|(netns, balance)| {
            balance.counters.iter().map(move |(counter, balance)| {
                ([(*netns).to_owned(), counter.as_str().to_owned()], value(&balance))
            })
        }))
    };
    Ok(vec![
        of_each(&KERNEL, |balance| count(balance.kernel))?,
        of_each(&UNATTRIBUTED, |balance| balance.residual as f64)?,
        of_each(&UNCERTAIN, |balance| balance.uncertain as f64)?,
    ])
}
