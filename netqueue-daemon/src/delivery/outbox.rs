//! Queue of notifications for one target, and when to try again.
//!
//! Pure: time is an argument.

use std::{
    collections::{BTreeMap, VecDeque},
    time::Duration,
};

use netqueue_domain::{Spike, SpikeScope, Timestamp};

/// Notifications kept for a target that is unreachable; beyond, the oldest are lost.
const WAITING: usize = 256;
/// Notifications in one message.
const AT_ONCE: usize = 64;
/// Pause after the first failure, which doubles with each further one.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// Notification: the spike as it was when it began, as it is now, or as it was when it ended.
pub(super) type Notification = Spike;

#[derive(Debug)]
pub(super) struct Outbox {
    /// Interval at which active spikes are repeated, for targets that forget them otherwise.
    refresh: Option<Duration>,
    waiting: VecDeque<Notification>,
    /// Active spikes by number, notified or about to be.
    open: BTreeMap<u64, Spike>,
    /// Highest number of a spike seen.
    newest: u64,
    /// Number of entries of `waiting` that are being sent.
    sent: usize,
    failures: u32,
    not_before: Timestamp,
    told: Timestamp,
}

impl Outbox {
    pub(super) fn new(refresh: Option<Duration>) -> Self {
        Self {
            refresh,
            waiting: VecDeque::new(),
            open: BTreeMap::new(),
            newest: 0,
            sent: 0,
            failures: 0,
            not_before: Timestamp::default(),
            told: Timestamp::default(),
        }
    }

    /// Queues notifications for news in `spikes`, ordered by number; returns how many are lost by that.
    /// Spikes of whole namespaces are left out: they consist of those of listeners.
    pub(super) fn look(&mut self, spikes: &[Spike], now: Timestamp) -> usize {
        for spike in spikes.iter().filter(|spike| matches!(spike.scope, SpikeScope::Account(..))) {
            if spike.id > self.newest {
                self.newest = spike.id;
                self.told = self.told.max(now);
                self.waiting.push_back(Spike { ended: None, ..spike.clone() });
                self.open.insert(spike.id, spike.clone());
            }
            if let Some(open) = self.open.get_mut(&spike.id) {
                open.clone_from(spike);
                if !spike.is_active() {
                    self.open.remove(&spike.id);
                    self.waiting.push_back(spike.clone());
                }
            }
        }
        let lost = self.waiting.len().saturating_sub(WAITING);
        self.waiting.drain(..lost);
        self.sent = self.sent.saturating_sub(lost);
        lost
    }

    /// Returns what to send now: one notification per spike, so that no beginning is overtaken by its end.
    pub(super) fn due(&mut self, now: Timestamp) -> Option<Vec<Notification>> {
        if now < self.not_before {
            return None;
        }
        let mut letters: Vec<Notification> = Vec::new();
        for letter in self.waiting.iter().take(AT_ONCE) {
            if letters.iter().any(|other| other.id == letter.id) {
                break;
            }
            letters.push(letter.clone());
        }
        self.sent = letters.len();
        if letters.is_empty() && self.refresh.is_some_and(|refresh| now.since(self.told) >= refresh) {
            letters.extend(self.open.values().take(AT_ONCE).cloned());
        }
        (!letters.is_empty()).then_some(letters)
    }

    /// Removes what was sent, which has arrived; returns the number of notifications delivered.
    pub(super) fn delivered(&mut self, now: Timestamp) -> usize {
        let told = std::mem::take(&mut self.sent);
        self.waiting.drain(..told);
        (self.failures, self.told) = (0, now);
        told
    }

    /// Keeps what was sent, which did not arrive; returns the pause until the next attempt.
    pub(super) fn refused(&mut self, now: Timestamp) -> Duration {
        let pause = FIRST_PAUSE.saturating_mul(1 << self.failures.min(16)).min(LONGEST_PAUSE);
        self.failures += 1;
        self.sent = 0;
        self.not_before = now.plus(pause);
        pause
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::delivery::message::tests::spike;

    const REFRESH: Duration = Duration::from_secs(60);

    fn at(seconds: u64) -> Timestamp {
        Timestamp::from_nanos(seconds * 1_000_000_000)
    }

    fn over(spike: &Spike) -> Spike {
        Spike { ended: Some(at(30)), ..spike.clone() }
    }

    fn ids(letters: Option<Vec<Notification>>) -> Vec<(u64, bool)> {
        letters.unwrap_or_default().iter().map(|letter| (letter.id, letter.is_active())).collect()
    }

    #[test]
    fn a_beginning_and_its_end_are_told_once_each_and_in_order() {
        let mut outbox = Outbox::new(None);
        assert_eq!(outbox.look(&[over(&spike(1))], at(10)), 0);
        assert_eq!(ids(outbox.due(at(10))), [(1, true)]);
        assert_eq!(outbox.delivered(at(10)), 1);
        assert_eq!(ids(outbox.due(at(10))), [(1, false)]);
        assert_eq!(outbox.delivered(at(10)), 1);
        outbox.look(&[over(&spike(1))], at(11));
        assert_eq!(outbox.due(at(11)), None);
    }

    #[test]
    fn a_target_that_is_away_is_tried_with_growing_pauses_and_then_told() {
        let mut outbox = Outbox::new(None);
        outbox.look(&[spike(1)], at(0));
        let mut pauses = Vec::new();
        let mut now = at(0);
        for _ in 0..8 {
            assert_eq!(ids(outbox.due(now)), [(1, true)]);
            let pause = outbox.refused(now);
            assert_eq!(outbox.due(now), None);
            pauses.push(pause.as_secs());
            now = now.plus(pause);
        }
        assert_eq!(pauses, [1, 2, 4, 8, 16, 32, 60, 60]);
        assert_eq!(ids(outbox.due(now)), [(1, true)]);
        assert_eq!(outbox.delivered(now), 1);
        outbox.look(&[spike(1), spike(2)], now);
        assert_eq!(ids(outbox.due(now)), [(2, true)]);
        assert_eq!(outbox.refused(now).as_secs(), 1, "one delivery ends the long pauses");
    }

    #[test]
    fn what_goes_on_is_told_again_before_an_alertmanager_forgets_it() {
        let mut outbox = Outbox::new(Some(REFRESH));
        outbox.look(&[spike(1)], at(0));
        assert_eq!(ids(outbox.due(at(0))), [(1, true)]);
        outbox.delivered(at(0));
        assert_eq!(outbox.due(at(59)), None);
        assert_eq!(ids(outbox.due(at(60))), [(1, true)]);
        assert_eq!(outbox.delivered(at(60)), 0, "it is no further letter");
        assert_eq!(outbox.due(at(61)), None);
    }

    #[test]
    fn letters_are_bounded_and_the_oldest_are_said_to_be_lost() {
        let mut outbox = Outbox::new(None);
        let spikes: Vec<_> = (1..=300).map(spike).collect();
        assert_eq!(outbox.look(&spikes, at(0)), 300 - WAITING);
        let first = outbox.due(at(0)).expect("letters");
        assert_eq!((first[0].id, first.len()), (45, AT_ONCE));
    }
}
