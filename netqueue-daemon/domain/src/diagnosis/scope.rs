//! Scope of the verdicts: what was looked at, and why nothing may have been seen.
//!
//! Without it, no verdict would read as all-clear.

use crate::{AccountKey, Snapshot};

/// Listeners and namespaces on which verdicts are based.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Scope {
    /// Number of network namespaces that exist.
    pub namespaces: u64,
    /// Number of those whose kernel counters were compared with what was attributed.
    pub compared: u64,
    /// Number of open listeners.
    pub listeners: u64,
    /// Number of connections that wait for accept() now.
    pub waiting: u64,
    /// True if the time that connections wait is observed.
    pub waits_observed: bool,
    /// Reasons why netqueue sees nothing, in words; empty if it sees.
    pub blind: Vec<&'static str>,
}

impl Scope {
    /// Returns the scope of verdicts on a snapshot.
    #[must_use]
    pub fn of(snapshot: &Snapshot) -> Self {
        let alive = || snapshot.namespaces.values().filter(|namespace| namespace.ended.is_none());
        let compared = alive().filter(|namespace| namespace.balance.is_some()).count() as u64;
        let open = || {
            let listener = |key: &AccountKey| matches!(key, AccountKey::Listener { .. });
            snapshot.accounts.iter().filter(move |account| listener(&account.key) && account.closed.is_none())
        };
        let waiting = open().filter_map(|account| account.queues.accept).map(|queue| u64::from(queue.length));
        let unattached = !snapshot.health.probes.iter().any(|probe| probe.attached);
        let blind = [
            unattached.then_some("none of its programs is attached to the kernel"),
            (compared == 0).then_some("the kernel's counters could be read in no network namespace"),
        ];
        Self {
            namespaces: alive().count() as u64,
            compared,
            listeners: open().count() as u64,
            waiting: waiting.sum(),
            waits_observed: snapshot.health.features.accept_wait,
            blind: blind.into_iter().flatten().collect(),
        }
    }
}
