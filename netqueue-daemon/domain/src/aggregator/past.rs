//! Histories of all accounts, in bounded memory.

use std::sync::Arc;

use super::Aggregator;
use crate::{Counts, History, Measure, Queues, Timestamp, Traffic};

/// Connections that went through a listener between two readings.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Went {
    established: u64,
    accepted: u64,
}

impl Went {
    pub(super) const fn between(before: &Traffic, after: &Traffic) -> Self {
        Self {
            established: after.established.saturating_sub(before.established),
            accepted: after.accepted.saturating_sub(before.accepted),
        }
    }
}

impl Aggregator {
    /// Records the difference of two counts in the account's history.
    pub(super) fn remember_charges(&mut self, index: usize, before: &Counts, after: &Counts, now: Timestamp) {
        self.remember(index, |history| history.charge(before, after, now), now);
    }

    /// Records connections through a listener and the lengths of its queues.
    pub(super) fn remember_traffic(
        &mut self,
        index: usize,
        went: Went,
        queues: Queues,
        longest: u32,
        now: Timestamp,
    ) {
        let length = |queue: Option<super::QueueState>| queue.map_or(0, |queue| queue.length);
        let measured = [
            (Measure::Established, went.established),
            (Measure::Accepted, went.accepted),
            (Measure::AcceptQueue, u64::from(length(queues.accept).max(longest))),
            (Measure::SynQueue, u64::from(length(queues.syn))),
        ];
        if measured.iter().any(|(_, value)| *value > 0) {
            self.remember(
                index,
                |history| measured.into_iter().for_each(|(measure, value)| history.add(measure, value, now)),
                now,
            );
        }
    }

    /// Records the queue lengths that an event reports.
    pub(super) fn remember_queues(&mut self, index: usize, queues: Queues, at: Timestamp) {
        self.remember_traffic(index, Went::default(), queues, 0, at);
    }

    /// Adds to the history of the account at `index`, then forgets idle histories above the memory limit.
    fn remember(&mut self, index: usize, add: impl FnOnce(&mut History), now: Timestamp) {
        let history = Arc::make_mut(&mut self.edit(index).history);
        let before = history.bytes();
        add(history);
        let after = history.bytes();
        self.history_bytes = self.history_bytes + after - before;
        while self.history_bytes > self.settings.history_memory && self.forget_one(now) {}
    }

    /// Recomputes the size of all histories after some were merged or removed.
    pub(super) fn weigh_histories(&mut self, now: Timestamp) {
        self.history_bytes = self.accounts.iter().map(|account| account.history.bytes()).sum();
        while self.history_bytes > self.settings.history_memory && self.forget_one(now) {}
    }

    /// Forgets the history that has been idle for longest, and returns whether there was one.
    fn forget_one(&mut self, now: Timestamp) -> bool {
        let held = self.accounts.iter_mut().filter(|account| account.history.bytes() > 0);
        let Some(idle) = held.min_by_key(|account| account.history.moved()) else { return false };
        self.history_bytes -= idle.history.bytes();
        Arc::make_mut(idle).history = Arc::new(History::forgotten(now));
        true
    }
}
