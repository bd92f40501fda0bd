//! Samples of the traffic through one accept queue.

use super::{AccountView, Counts, DropCause, Timestamp};

/// Traffic through one accept queue, which stayed the same for a run of ticks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sample {
    /// First tick of the run.
    pub since: Timestamp,
    /// Last tick of the run.
    pub until: Timestamp,
    /// Drops because a queue was full, since netqueue attached.
    pub drops: u64,
    /// Connections that entered the accept queue, since netqueue attached.
    pub entered: u64,
    /// Connections taken out of the accept queue, since netqueue attached.
    pub accepted: u64,
    /// Connections in the accept queue.
    pub waiting: u32,
}

impl Sample {
    /// Creates the sample of an account at `now`.
    #[must_use]
    pub fn of(account: &AccountView, now: Timestamp) -> Self {
        Self {
            since: now,
            until: now,
            drops: queue_drops(&account.counts),
            entered: account.traffic.established,
            accepted: account.traffic.accepted,
            waiting: waiting(account),
        }
    }
}

/// Returns the connections that wait in the account's accept queue.
///
/// Its length may be that at the last drop: nobody waits if as many have left as have entered.
fn waiting(account: &AccountView) -> u32 {
    let traffic = &account.traffic;
    let empty = traffic.established > 0 && traffic.accepted == traffic.established;
    let length = account.queues.accept.map_or(0, |queue| queue.length);
    if empty || account.closed.is_some() { 0 } else { length }
}

/// Returns the drops because a queue was full.
pub(super) fn queue_drops(counts: &Counts) -> u64 {
    let full = |cause| match cause {
        DropCause::AcceptQueueFull | DropCause::SynQueueFull => true,
        DropCause::SynBacklogReserve | DropCause::Other => false,
    };
    counts.drops().filter(|(kind, _)| full(kind.cause())).map(|(_, drops)| drops).sum()
}
