//! Servers whose clients lose the keep-alive race, and the idle time-outs inferred for them.

use std::{
    collections::{BTreeSet, HashMap},
    mem,
    net::SocketAddr,
    sync::Arc,
    time::Duration,
};

use super::Aggregator;
use crate::{AccountKey, Event, IdleLimit, LateData, Netns, ResetCause, Timestamp, What};

/// Inferred idle time-outs, by namespace and port.
pub type IdleLimits = HashMap<(Netns, u16), IdleLimit>;

/// Age from which on a race is no longer investigated.
const LATELY: Duration = Duration::from_secs(15 * 60);
/// Maximum number of servers investigated at once. Each pass over one walks the kernel's table of
/// connections.
const MOST: usize = 8;
/// Maximum number of resets kept until they are fetched.
const RESETS: usize = 256;

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

    /// Keeps an event that shows when at the latest a server had closed a connection.
    pub(super) fn remember_late_data(&mut self, event: &Event) {
        if event.what == What::Reset(ResetCause::AfterClose)
            && let Some(peer) = event.peer
            && self.late_data.len() < RESETS
        {
            let peer = SocketAddr::new(peer.addr, peer.port);
            let (netns, port) = (event.account.netns(), event.local_port);
            self.late_data.push(LateData { netns, port, peer, at: event.time });
        }
    }

    /// Returns the resets after a close since the last call; of many, the first ones.
    #[must_use]
    pub fn take_late_data(&mut self) -> Vec<LateData> {
        mem::take(&mut self.late_data)
    }

    /// Stores idle time-outs that were inferred from how connections ended.
    pub(crate) fn infer(&mut self, limits: Vec<(Netns, u16, IdleLimit)>) {
        if !limits.is_empty() {
            Arc::make_mut(&mut self.idle_limits)
                .extend(limits.into_iter().map(|(netns, port, limit)| ((netns, port), limit)));
        }
    }
}
