//! The newest events, in bounded memory, shared with readers without copying.

use std::{collections::VecDeque, sync::Arc};

use super::Event;

const CHUNK: usize = 256;

/// A bounded log of events, newest kept. Every event ever appended has a sequence number, from 1 without gaps.
///
/// Cloning shares the full chunks and copies only the last, unfinished one.
#[derive(Clone, Debug)]
pub struct EventLog {
    full: VecDeque<Arc<[Event]>>,
    open: Vec<Event>,
    capacity: usize,
    appended: u64,
}

impl EventLog {
    /// A log that keeps at least the newest `capacity` events and drops older ones in chunks.
    #[must_use]
    pub const fn new(capacity: usize) -> Self {
        Self { full: VecDeque::new(), open: Vec::new(), capacity, appended: 0 }
    }

    /// The same log, empty, for events numbered after `appended`.
    #[must_use]
    pub const fn continued_after(&self, appended: u64) -> Self {
        Self { full: VecDeque::new(), open: Vec::new(), capacity: self.capacity, appended }
    }

    /// Appends the newest event.
    pub fn append(&mut self, event: Event) {
        self.appended += 1;
        self.open.push(event);
        if self.open.len() == CHUNK {
            self.full.push_back(std::mem::take(&mut self.open).into());
            while self.full.len() > 1 && (self.full.len() - 1) * CHUNK >= self.capacity {
                self.full.pop_front();
            }
        }
    }

    /// How many events were ever appended.
    #[must_use]
    pub const fn appended(&self) -> u64 {
        self.appended
    }

    /// How many events are held.
    #[must_use]
    pub fn len(&self) -> usize {
        self.full.len() * CHUNK + self.open.len()
    }

    /// Whether none is held.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many events were appended and are no longer held.
    #[must_use]
    pub fn evicted(&self) -> u64 {
        self.appended - self.len() as u64
    }

    /// Held events with their sequence numbers, newest first.
    pub fn newest_first(&self) -> impl Iterator<Item = (u64, &Event)> {
        let events =
            self.open.iter().rev().chain(self.full.iter().rev().flat_map(|chunk| chunk.iter().rev()));
        (1..=self.appended).rev().zip(events)
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;
    use crate::domain::{AccountKey, Endpoint, Netns, Queues, ResetCause, Timestamp, What};

    fn event(number: u64) -> Event {
        let at = Endpoint { netns: Netns::at_attach(1), addr: Ipv4Addr::LOCALHOST.into(), port: 80 };
        Event {
            time: Timestamp::from_nanos(number),
            account: AccountKey::Endpoint(at),
            local_port: 80,
            peer: None,
            what: What::Reset(ResetCause::NoListener),
            kernel_reason: None,
            queues: Queues::default(),
            cpu: 0,
            age: None,
        }
    }

    #[test]
    fn newest_come_first_and_memory_is_bounded() {
        let mut log = EventLog::new(1000);
        for number in 1..=100_000 {
            log.append(event(number));
            assert!(log.len() <= 1000 + 2 * CHUNK);
        }
        assert!(log.len() >= 1000);
        let newest: Vec<_> =
            log.newest_first().take(3).map(|(seq, event)| (seq, event.time.as_nanos())).collect();
        assert_eq!(newest, [(100_000, 100_000), (99_999, 99_999), (99_998, 99_998)]);
        assert_eq!(log.newest_first().count(), log.len());
        assert_eq!(log.evicted() + log.len() as u64, 100_000);
        let (oldest, event) = log.newest_first().last().expect("events are held");
        assert_eq!((oldest, event.time.as_nanos()), (log.evicted() + 1, log.evicted() + 1));
    }

    #[test]
    fn a_reader_keeps_what_it_cloned() {
        let mut log = EventLog::new(10);
        log.append(event(1));
        let reader = log.clone();
        (2..2000).for_each(|number| log.append(event(number)));
        assert_eq!(reader.newest_first().map(|(seq, _)| seq).collect::<Vec<_>>(), [1]);
    }
}
