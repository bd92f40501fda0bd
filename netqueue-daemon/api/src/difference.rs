//! Differences between two responses about the same accounts: counts only grow.

use super::{DropCount, Drops, Ghosts, Handshakes, Listener, ResetCount, Resets};

impl Listener {
    /// Subtracts the counts of `earlier`, an older response about the same account.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        let counter = |(name, value): (&String, &u64)| {
            (name.clone(), value.saturating_sub(earlier.counters.get(name).copied().unwrap_or(0)))
        };
        let overflows = self.syncookie_helper_overflows;
        Self {
            counters: self.counters.iter().map(counter).collect(),
            drops: self.drops.since(&earlier.drops),
            resets: self.resets.since(&earlier.resets),
            connection_resets: self.connection_resets.since(&earlier.connection_resets),
            handshakes: self.handshakes.since(&earlier.handshakes),
            ghosts: self.ghosts.since(&earlier.ghosts),
            syncookie_helper_overflows: overflows.saturating_sub(earlier.syncookie_helper_overflows),
            ..self.clone()
        }
    }
}

impl Handshakes {
    const fn since(&self, earlier: &Self) -> Self {
        Self {
            suspended: self.suspended.saturating_sub(earlier.suspended),
            recovered: self.recovered.saturating_sub(earlier.recovered),
            ended: self.ended.saturating_sub(earlier.ended),
            given_up: self.given_up.saturating_sub(earlier.given_up),
            timed_out: self.timed_out.saturating_sub(earlier.timed_out),
            expired: self.expired.saturating_sub(earlier.expired),
            unresolved: self.unresolved.saturating_sub(earlier.unresolved),
        }
    }
}

impl Ghosts {
    const fn since(&self, earlier: &Self) -> Self {
        Self {
            live: self.live.saturating_sub(earlier.live),
            total: self.total.saturating_sub(earlier.total),
            recovered: self.recovered.saturating_sub(earlier.recovered),
            ended: self.ended.saturating_sub(earlier.ended),
            given_up: self.given_up.saturating_sub(earlier.given_up),
        }
    }
}

impl Drops {
    fn since(&self, earlier: &Self) -> Self {
        let by_cause = self.by_cause.iter().map(|part| {
            let same = |old: &&DropCount| old.cause == part.cause && old.stage == part.stage;
            let before = earlier.by_cause.iter().find(same).map_or(0, |old| old.count);
            DropCount { count: part.count.saturating_sub(before), ..part.clone() }
        });
        let by_cause = by_cause.filter(|part| part.count > 0).collect();
        Self { total: self.total.saturating_sub(earlier.total), by_cause }
    }
}

impl Resets {
    fn since(&self, earlier: &Self) -> Self {
        let by_cause = self.by_cause.iter().map(|part| {
            let before = earlier.by_cause.iter().find(|old| old.cause == part.cause);
            ResetCount { count: part.count.saturating_sub(before.map_or(0, |old| old.count)), ..part.clone() }
        });
        let by_cause = by_cause.filter(|part| part.count > 0).collect();
        Self { total: self.total.saturating_sub(earlier.total), by_cause }
    }
}
