//! Input of observations, and transfer of the state to another aggregator.

use std::collections::HashMap;

use super::Aggregator;
use crate::{
    AccountKey, Beside, Checkpoint, Counts, Observation, Queues, Reconciler, SocketInode, Timestamp,
    TrafficReading,
};

impl Aggregator {
    /// Takes in an observation made at `now`. The daemon has no other way to its aggregator, so a recording
    /// of the observations is complete.
    pub fn apply(&mut self, now: Timestamp, what: Observation) {
        match what {
            Observation::Checkpoint(checkpoint) => self.restore(*checkpoint),
            Observation::Events(events) => events.into_iter().for_each(|event| self.observe(event)),
            Observation::Counts(counts) => self.count(counts, now),
            Observation::Sockets(sockets) => {
                sockets.into_iter().for_each(|(key, socket)| self.identify(key, socket, now));
            }
            Observation::Listeners(changes) => self.learn(changes, now),
            Observation::Settled(slots) => {
                slots.into_iter().for_each(|(key, counts)| self.settle(key, counts, now));
            }
            Observation::Closed(closed) => self.close(closed),
            Observation::Traffic(readings) => self.flow(readings, now),
            Observation::Scraped => self.scraped(),
            Observation::Baseline(netns, bracket) => {
                self.set_baseline(netns, &bracket);
            }
            Observation::Compared(netns, bracket) => {
                self.reconcile(netns, &bracket, now);
            }
            Observation::Beside(netns, risen) => self.beside.rose(netns, &risen, now),
            Observation::Namespaces(news) => self.hear(news, now),
            Observation::Health(health) => self.set_health(*health),
            Observation::WallClock(clock) => self.wall_clock = clock,
        }
    }

    /// Exports the state as an observation that restores it in another aggregator. Includes the number of
    /// events, but not the events.
    #[must_use]
    pub fn checkpoint(&self) -> Checkpoint {
        // The pattern names every field, so that whoever adds one decides whether it belongs here. Spikes are
        // left out: observations let them be detected again.
        let Self {
            settings: _,
            attached: _,
            accounts,
            index: _,
            by_socket,
            found,
            settled,
            peaks,
            quiet: _,
            events,
            reconciler,
            namespaces,
            search,
            health,
            history_bytes: _,
            spikes: _,
            opened: _,
            places: _,
            recent: _,
            beside,
            idle_limits,
            late_data: _,
            wall_clock,
        } = self;
        Checkpoint {
            accounts: accounts.clone(),
            sockets: by_socket.iter().map(|(socket, index)| (*socket, *index)).collect(),
            found: *found,
            settled: settled.iter().map(|(key, counts)| (*key, *counts)).collect(),
            peaks: peaks.iter().map(|(id, peaks)| (*id, peaks.clone())).collect(),
            events: events.appended() - events.before_this_run(),
            namespaces: namespaces.checkpoint(),
            baselines: reconciler.checkpoint().collect(),
            search: *search,
            health: health.clone(),
            idle_limits: idle_limits.iter().map(|((netns, port), limit)| (*netns, *port, *limit)).collect(),
            wall_clock: *wall_clock,
            beside: beside.checkpoint(),
        }
    }

    fn restore(&mut self, checkpoint: Checkpoint) {
        let Checkpoint {
            accounts,
            sockets,
            found,
            settled,
            peaks,
            events,
            namespaces,
            baselines,
            search,
            health,
            idle_limits,
            wall_clock,
            beside,
        } = checkpoint;
        self.accounts = accounts;
        self.find_places();
        self.by_socket = sockets.into_iter().collect();
        self.found = found;
        self.settled = settled.into_iter().collect();
        self.peaks = peaks.into_iter().collect();
        self.events.continue_after(self.events.before_this_run() + events);
        self.namespaces.restore(namespaces);
        self.reconciler = Reconciler::restored(baselines);
        self.search = search;
        self.health = health;
        self.infer(idle_limits);
        self.wall_clock = wall_clock;
        self.beside = Beside::restored(beside);
    }

    /// Filters a full reading to the accounts whose counts moved since [`Self::count`]. Keeps all slots of
    /// these accounts, because [`Self::count`] adds them up.
    #[must_use]
    pub fn moved(&self, readings: &[(AccountKey, Counts)]) -> Vec<(AccountKey, Counts)> {
        let mut sums = HashMap::new();
        let shared = |key: &AccountKey| !matches!(key, AccountKey::Listener { .. });
        for (key, counts) in readings.iter().filter(|(key, _)| shared(key)) {
            let settled = || self.settled.get(key).copied().unwrap_or_default();
            sums.entry(key).or_insert_with(settled).add(counts);
        }
        let has_moved = |(key, counts): &&(AccountKey, Counts)| {
            let known = self.find(key).map(|account| &account.counts);
            known != Some(sums.get(key).unwrap_or(counts))
        };
        readings.iter().filter(has_moved).copied().collect()
    }

    /// Filters traffic readings to those that report something new.
    #[must_use]
    pub fn flowed(
        &self,
        mut readings: Vec<(AccountKey, TrafficReading)>,
    ) -> Vec<(AccountKey, TrafficReading)> {
        readings.retain(|(key, reading)| {
            let known = self.index.get(key).and_then(|index| self.accounts.get(*index));
            known.is_none_or(|known| {
                reading.accept_peak > 0
                    || !known.traffic.counts_equal(&reading.counts)
                    || reading.queues != Queues::default() && known.queues != reading.queues
            })
        });
        readings
    }

    /// Filters accounts with their sockets to those that have not been opened yet.
    #[must_use]
    pub fn unidentified(&self, sockets: &[(AccountKey, SocketInode)]) -> Vec<(AccountKey, SocketInode)> {
        sockets.iter().filter(|(key, _)| !self.knows(key)).copied().collect()
    }

    /// Filters closed listeners to those whose accounts are not yet marked as closed.
    #[must_use]
    pub fn closed(&self, closed: &[(AccountKey, Timestamp)]) -> Vec<(AccountKey, Timestamp)> {
        let open = |key| self.find(key).is_some_and(|account| account.closed.is_none());
        closed.iter().filter(|(key, _)| open(key)).copied().collect()
    }
}
