//! Newest events, packed into bounded memory and shared with readers without copying.

mod chunk;

use std::{collections::VecDeque, sync::Arc};

use super::{Earlier, Event, Timestamp};
use chunk::Chunk;

/// Number of events packed together.
const CHUNK: usize = 256;

/// A bounded log of the newest events. Every event ever appended has a number, rising from 1.
///
/// Full chunks are packed (64 bytes per event, each account once per chunk) and shared by clones; the open
/// chunk is copied.
#[derive(Clone, Debug)]
pub struct EventLog {
    full: VecDeque<Arc<Chunk>>,
    open: Vec<Event>,
    /// Size of the full chunks in bytes; `most` is its limit.
    bytes: usize,
    most: usize,
    appended: u64,
    evicted: u64,
    /// Number of the last event of earlier runs.
    before: u64,
    earlier: Arc<Earlier>,
}

impl EventLog {
    /// Creates a log that keeps the newest events in about `most` bytes, at least two chunks.
    #[must_use]
    pub fn new(most: usize) -> Self {
        let (full, open, earlier) = (VecDeque::new(), Vec::new(), Arc::default());
        Self { full, open, bytes: 0, most, appended: 0, evicted: 0, before: 0, earlier }
    }

    /// Restores an event of an earlier run under its number, unless the log already has one as new.
    pub fn remember(&mut self, number: u64, event: Event) {
        if number > self.appended {
            self.continue_after(number - 1);
            self.append(event);
        }
    }

    /// Begins this run: all events so far belong to earlier runs, whose last number was `last`.
    pub fn begin(&mut self, earlier: Earlier, last: u64) {
        self.continue_after(last);
        self.before = self.appended;
        self.earlier = Arc::new(earlier);
    }

    /// Returns the runs before this one.
    #[must_use]
    pub fn earlier(&self) -> &Earlier {
        &self.earlier
    }

    /// Returns how many numbers were assigned before this run.
    #[must_use]
    pub const fn before_this_run(&self) -> u64 {
        self.before
    }

    /// Iterates over the events of this run, newest first.
    pub fn of_this_run(&self) -> impl Iterator<Item = Event> {
        self.newest_first().take_while(|(number, _)| *number > self.before).map(|(_, event)| event)
    }

    /// Continues the numbering after `appended`; the events in between were never seen here.
    pub fn continue_after(&mut self, appended: u64) {
        if appended > self.appended {
            self.seal();
            self.evicted += appended - self.appended;
            self.appended = appended;
        }
    }

    /// Appends the newest event and returns its number.
    pub fn append(&mut self, event: Event) -> u64 {
        self.appended += 1;
        self.open.push(event);
        if self.open.len() == CHUNK {
            self.seal();
        }
        self.appended
    }

    fn seal(&mut self) {
        if self.open.is_empty() {
            return;
        }
        let first = self.appended + 1 - self.open.len() as u64;
        let chunk = Chunk::pack(first, &std::mem::take(&mut self.open));
        self.bytes += chunk.bytes();
        self.full.push_back(Arc::new(chunk));
        while self.bytes > self.most && self.full.len() > 1 {
            let Some(oldest) = self.full.pop_front() else { return };
            self.bytes -= oldest.bytes();
            self.evicted += oldest.events.len() as u64;
        }
    }

    /// Returns how many events were ever appended.
    #[must_use]
    pub const fn appended(&self) -> u64 {
        self.appended
    }

    /// Returns how many events the log contains.
    #[must_use]
    pub fn len(&self) -> usize {
        self.full.iter().map(|chunk| chunk.events.len()).sum::<usize>() + self.open.len()
    }

    /// Returns whether the log contains no event.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.full.is_empty() && self.open.is_empty()
    }

    /// Returns how many appended events the log no longer contains.
    #[must_use]
    pub const fn evicted(&self) -> u64 {
        self.evicted
    }

    /// Returns the size of the full chunks in bytes.
    #[must_use]
    pub const fn bytes(&self) -> usize {
        self.bytes
    }

    /// Returns number and time of the oldest event in the log.
    #[must_use]
    pub fn oldest(&self) -> Option<(u64, Timestamp)> {
        self.after(0).next().map(|(seq, event)| (seq, event.time))
    }

    /// Iterates over the events with their numbers, newest first.
    pub fn newest_first(&self) -> impl Iterator<Item = (u64, Event)> {
        self.before(u64::MAX, Timestamp::default())
    }

    /// Iterates over the events numbered below `seq`, newest first; skips chunks older than `since`.
    pub fn before(&self, seq: u64, since: Timestamp) -> impl Iterator<Item = (u64, Event)> {
        let open = self.open.iter().cloned().enumerate().rev();
        let open = open.map(|(index, event)| (self.open_first() + index as u64, event));
        let full =
            self.full.iter().rev().filter(move |chunk| chunk.first < seq && *chunk.times.end() >= since);
        let full =
            full.flat_map(|chunk| (0..chunk.events.len()).rev().filter_map(|index| chunk.event(index)));
        open.chain(full).filter(move |(number, _)| *number < seq)
    }

    /// Iterates over the events numbered above `seq`, oldest first.
    pub fn after(&self, seq: u64) -> impl Iterator<Item = (u64, Event)> {
        let start = self
            .full
            .partition_point(|chunk| chunk.first + (chunk.events.len() as u64) <= seq.saturating_add(1));
        let full = self.full.iter().skip(start);
        let full = full.flat_map(move |chunk| {
            // Skipped events of the first chunk are not unpacked.
            let skipped = seq.saturating_add(1).saturating_sub(chunk.first);
            let skipped = usize::try_from(skipped).unwrap_or(usize::MAX);
            (0..chunk.events.len()).skip(skipped).filter_map(|index| chunk.event(index))
        });
        let open = self.open.iter().cloned().enumerate();
        let open = open.map(|(index, event)| (self.open_first() + index as u64, event));
        full.chain(open).filter(move |(number, _)| *number > seq)
    }

    fn open_first(&self) -> u64 {
        self.appended + 1 - self.open.len() as u64
    }
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, Ipv6Addr};
    use std::time::Duration;

    use super::*;
    use crate::{AccountKey, DropKind, Endpoint, Netns, Peer, QueueState, Queues, ResetCause, What};

    fn event(number: u64) -> Event {
        let port = (number % 5) as u16;
        let at = Endpoint { netns: Netns::at_attach(1), addr: Ipv4Addr::LOCALHOST.into(), port };
        let addr = if number.is_multiple_of(2) {
            Ipv4Addr::from_bits(number as u32).into()
        } else {
            Ipv6Addr::from_bits(number.into()).into()
        };
        Event {
            time: Timestamp::from_nanos(number),
            account: AccountKey::Endpoint(at),
            local_port: port,
            peer: (!number.is_multiple_of(7)).then_some(Peer { addr, port: number as u16 }),
            what: match number % 3 {
                0 => What::Drop(DropKind::OtherCookieAck),
                _ => What::Reset(ResetCause::Other),
            },
            kernel_reason: number.is_multiple_of(4).then(|| format!("REASON {}", number % 8).into()),
            queues: Queues {
                accept: number.is_multiple_of(3).then_some(QueueState { length: 2, limit: number as u32 }),
                syn: None,
            },
            cpu: 3,
            age: number.is_multiple_of(9).then_some(Duration::from_nanos(number)),
        }
    }

    #[test]
    fn events_come_out_as_they_went_in_and_memory_is_bounded() {
        const MOST: usize = 1 << 17;
        let mut log = EventLog::new(MOST);
        for number in 1..=20_000 {
            assert_eq!(log.append(event(number)), number);
            assert!(log.bytes <= MOST);
        }
        assert!(log.len() > 1000 && log.evicted() + log.len() as u64 == 20_000, "{}", log.len());
        let expected: Vec<_> = (log.evicted() + 1..=20_000).map(|number| (number, event(number))).collect();
        assert!(log.after(0).eq(expected.iter().cloned()));
        assert!(log.newest_first().eq(expected.iter().rev().cloned()));
        assert_eq!(log.oldest(), Some((log.evicted() + 1, Timestamp::from_nanos(log.evicted() + 1))));
    }

    #[test]
    fn an_event_takes_64_bytes_and_a_share_of_its_chunk() {
        assert_eq!(size_of::<chunk::Packed>(), 64);
        let mut log = EventLog::new(usize::MAX);
        (1..=CHUNK as u64 * 16).for_each(|number| assert!(log.append(event(number)) > 0));
        assert!(log.bytes / log.len() < 72, "{}", log.bytes / log.len());
    }

    #[test]
    fn reading_starts_anywhere() {
        let mut log = EventLog::new(1 << 20);
        (1..=1000).for_each(|number| assert!(log.append(event(number)) > 0));
        for start in [0, 1, 255, 256, 257, 511, 512, 767, 999, 1000, 5000] {
            assert!(log.after(start).map(|(number, _)| number).eq(start + 1..=1000), "{start}");
            let below = start.clamp(1, 1001);
            assert!(
                log.before(start, Timestamp::default()).map(|(number, _)| number).eq((1..below).rev()),
                "{start}"
            );
        }
        let since = log.before(u64::MAX, Timestamp::from_nanos(700)).last().map(|(number, _)| number);
        assert_eq!(since, Some(513), "a chunk is passed over only as a whole");
    }

    #[test]
    fn a_gap_in_the_numbers_is_not_filled() {
        let mut log = EventLog::new(1 << 20);
        (1..=3).for_each(|number| assert!(log.append(event(number)) > 0));
        log.continue_after(700);
        assert_eq!(log.append(event(9)), 701);
        assert!(log.after(2).map(|(number, _)| number).eq([3, 701]));
        assert_eq!((log.len(), log.evicted(), log.appended()), (4, 697, 701));
    }

    #[test]
    fn a_reader_keeps_what_it_cloned() {
        let mut log = EventLog::new(10);
        log.append(event(1));
        let reader = log.clone();
        (2..2000).for_each(|number| assert_eq!(log.append(event(number)), number));
        assert_eq!(reader.newest_first().map(|(seq, _)| seq).collect::<Vec<_>>(), [1]);
    }
}
