//! Servers whose clients lose the keep-alive race, and the idle time-outs inferred for them.

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
    time::Duration,
};

use super::Aggregator;
use crate::{AccountKey, IdleLimit, Netns, ResetCause, Timestamp};

/// Inferred idle time-outs, by namespace and port.
pub type IdleLimits = HashMap<(Netns, u16), IdleLimit>;

/// Age from which on a race is no longer investigated.
const LATELY: Duration = Duration::from_secs(15 * 60);
/// Maximum number of servers investigated at once. Each pass over one walks the kernel's table of
/// connections.
const MOST: usize = 8;

impl Aggregator {
    /// Returns the servers that recently received data on connections they had closed. If there are many,
    /// returns those with the most recent charges.
    #[must_use]
    pub fn raced(&self, now: Timestamp) -> BTreeSet<(Netns, u16)> {
        let place = |key: &AccountKey| match key {
            AccountKey::Listener { at, .. } | AccountKey::Endpoint(at) => Some((at.netns, at.port)),
            AccountKey::Ephemeral { .. } | AccountKey::Other(_) | AccountKey::Gone(_) => None,
        };
        let mut raced: Vec<_> = self
            .accounts
            .iter()
            .filter(|account| {
                account.counts.resets().any(|(cause, n)| cause == ResetCause::AfterClose && n > 0)
            })
            .filter(|account| now.since(account.last_seen) < LATELY)
            .filter_map(|account| Some((account.last_seen, place(&account.key)?)))
            .collect();
        raced.sort_unstable_by(|one, other| other.cmp(one));
        raced.into_iter().map(|(_, place)| place).take(MOST).collect()
    }

    /// Stores idle time-outs that were inferred from how connections ended.
    pub(crate) fn infer(&mut self, limits: Vec<(Netns, u16, IdleLimit)>) {
        if !limits.is_empty() {
            Arc::make_mut(&mut self.idle_limits)
                .extend(limits.into_iter().map(|(netns, port, limit)| ((netns, port), limit)));
        }
    }
}
