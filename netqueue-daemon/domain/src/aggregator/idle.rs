//! Servers whose clients lose the keep-alive race: which they are, and how long each lets connections idle.

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
    time::Duration,
};

use super::Aggregator;
use crate::{AccountKey, IdleLimit, Netns, ResetCause, Timestamp};

/// By namespace and port, the idle time-outs that were inferred.
pub type IdleLimits = HashMap<(Netns, u16), IdleLimit>;

/// A race longer ago than this is looked into no more.
const LATELY: Duration = Duration::from_secs(15 * 60);
/// Servers looked into at once: each look is a walk through the kernel's table of connections.
const MOST: usize = 8;

impl Aggregator {
    /// The servers that were sent data lately on connections they had closed: those raced last, if there are many.
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

    /// What was inferred from how their connections ended.
    pub(crate) fn infer(&mut self, limits: Vec<(Netns, u16, IdleLimit)>) {
        if !limits.is_empty() {
            Arc::make_mut(&mut self.idle_limits)
                .extend(limits.into_iter().map(|(netns, port, limit)| ((netns, port), limit)));
        }
    }
}
