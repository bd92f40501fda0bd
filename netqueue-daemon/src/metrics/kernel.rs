//! Kernel counters, and the residual of each, which is what could not be attributed.

use std::collections::BTreeMap;

use netqueue_domain::{CounterBalance, NamespaceBalance, Snapshot};

use super::{
    family::{Family, Scraped, count},
    text::Kind,
};

const KERNEL: Family<2> = Family {
    name: "netqueue_kernel_mib_total",
    help: "SNMP counter of the kernel as /proc/net/netstat and /proc/net/snmp of the namespace show it.",
    kind: Kind::Counter,
    labels: ["netns", "counter"],
};

const UNATTRIBUTED: Family<2> = Family {
    name: "netqueue_residual",
    help: "Increase of the kernel counter since the comparison began, less what netqueue attributed; anything but 0 is a defect or a loss.",
    kind: Kind::Gauge,
    labels: ["netns", "counter"],
};

const SINCE: Family<1> = Family {
    name: "netqueue_namespace_compared_timestamp_seconds",
    help: "Time of the namespace's last comparison with the kernel, in seconds since the epoch; its end, once it has ended.",
    kind: Kind::Gauge,
    labels: ["netns"],
};

const UNCOMPARED: Family<0> = Family {
    name: "netqueue_namespaces_not_compared",
    help: "Network namespaces with drops or resets whose kernel counters could not be read; /api/v1/status has the reason.",
    kind: Kind::Gauge,
    labels: [],
};

/// Returns the families of every namespace that is compared.
/// Successive namespaces of one name share a series.
pub(super) fn families(snapshot: &Snapshot) -> Vec<Scraped> {
    let mut by_name: BTreeMap<String, NamespaceBalance> = BTreeMap::new();
    for balance in snapshot.balances() {
        by_name
            .entry(snapshot.netns_name(balance.netns))
            .and_modify(|sum| *sum = sum.and(balance))
            .or_insert(*balance);
    }
    let of_each = |family: &Family<2>, value: fn(&CounterBalance) -> f64| {
        family.with(by_name.iter().flat_map(|(netns, balance)| {
            balance.counters.iter().map(move |(counter, balance)| {
                ([netns.clone(), counter.as_str().to_owned()], value(&balance))
            })
        }))
    };
    let read = |balance: &NamespaceBalance| snapshot.wall_clock.show(balance.read).as_secs_f64();
    let uncompared = snapshot.namespaces.values().filter(|namespace| namespace.balance.is_none()).count();
    vec![
        of_each(&KERNEL, |balance| count(balance.kernel)),
        of_each(&UNATTRIBUTED, |balance| balance.residual as f64),
        SINCE.with(by_name.iter().map(|(netns, balance)| ([netns.clone()], read(balance)))),
        UNCOMPARED.with([([], count(uncompared as u64))]),
    ]
}
