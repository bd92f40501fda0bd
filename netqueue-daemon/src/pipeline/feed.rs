//! Only way into the aggregator, from which observations also reach recordings and the event log.

use std::{collections::BTreeSet, sync::Arc};

use netqueue_domain::{Aggregator, Event, LateData, Netns, Observation, Observed, Snapshot, Timestamp};
use tokio::sync::mpsc::{Sender, channel};

use crate::{
    journal::{self, Journal, LogEntry},
    snapshots::Recording,
    spike_log,
};

/// Recordings that may be made at once.
pub const RECORDINGS: usize = 2;
/// Observations that may wait to be written to a recording; with more, the recording has a gap.
const WAITING: usize = 256;
/// Events in one observation of a recording, to bound the memory of those that wait.
const EVENTS: usize = 512;

/// Aggregator, with the recordings and the event log that receive what it receives.
#[derive(Debug)]
pub struct Feed {
    aggregator: Aggregator,
    recordings: Vec<Recorder>,
    journal: Option<Journal>,
}

#[derive(Debug)]
struct Recorder {
    sender: Sender<Arc<Observed>>,
    /// True if an observation was dropped: the next one is the full state.
    gap: bool,
}

impl Feed {
    /// Feeds `aggregator`, without recordings or an event log.
    #[must_use]
    pub const fn new(aggregator: Aggregator) -> Self {
        Self { aggregator, recordings: Vec::new(), journal: None }
    }

    /// Adds an event log on disk, to which all events are written.
    #[must_use]
    pub fn with_journal(self, journal: Journal) -> Self {
        Self { journal: Some(journal), ..self }
    }

    /// Takes a snapshot of everything.
    #[must_use]
    pub fn snapshot(&self, now: Timestamp) -> Snapshot {
        let journal = self.journal.as_ref().map(Journal::state);
        Snapshot { journal, ..self.aggregator.snapshot(now) }
    }

    /// Returns the aggregator, whose state sums up all observations.
    #[must_use]
    pub const fn aggregator(&self) -> &Aggregator {
        &self.aggregator
    }

    /// Returns the servers whose connections are to be followed, and their resets since the last call.
    pub fn raced(&mut self, now: Timestamp) -> (BTreeSet<(Netns, u16)>, Vec<LateData>) {
        (self.aggregator.raced(now), self.aggregator.take_late_data())
    }

    /// Applies an observation made at `now`.
    pub fn tell(&mut self, now: Timestamp, what: Observation) {
        self.recordings.retain(|recorder| !recorder.sender.is_closed());
        if let (Some(journal), Observation::Events(events)) = (&self.journal, &what) {
            write_down(journal, &self.aggregator, events);
        }
        if self.recordings.is_empty() {
            return self.aggregator.apply(now, what);
        }
        self.aggregator.apply(now, what.clone());
        let parts = parts(what);
        let parts: Vec<_> = parts.map(|what| Arc::new(Observed { time: now, what })).collect();
        for recorder in &mut self.recordings {
            recorder.take(now, &parts, &self.aggregator);
        }
    }

    /// Applies an observation of several things at `now`, unless there are none.
    pub fn tell_any<T>(&mut self, now: Timestamp, of: Vec<T>, what: impl FnOnce(Vec<T>) -> Observation) {
        if !of.is_empty() {
            self.tell(now, what(of));
        }
    }

    /// Advances the aggregator to `now`, and logs the spikes that began or ended.
    pub fn tick(&mut self, now: Timestamp) {
        let notices = self.aggregator.tick(now);
        notices.iter().for_each(|notice| spike_log::write(notice, self.aggregator.wall_clock()));
    }

    /// Starts a recording with the state at `now`; `None` if enough are being made.
    pub fn record(&mut self, now: Timestamp) -> Option<Recording> {
        self.recordings.retain(|recorder| !recorder.sender.is_closed());
        if self.recordings.len() >= RECORDINGS {
            return None;
        }
        let (sender, receiver) = channel(WAITING);
        let mut recorder = Recorder { sender, gap: true };
        recorder.restate(now, &self.aggregator);
        self.recordings.push(recorder);
        Some(receiver)
    }

    /// Ends the recordings in progress, which are complete up to now.
    pub fn end_recordings(&mut self) {
        self.recordings.clear();
    }
}

#[cfg(test)]
impl Feed {
    /// Feeds an empty aggregator of a daemon in the namespace `host`, for the tests of what tells it.
    pub(super) fn of(host: netqueue_domain::Netns) -> Self {
        let settings = netqueue_domain::AggregatorSettings::of(host);
        Self::new(Aggregator::new(settings, Timestamp::from_nanos(1)))
    }
}

/// Hands events that the aggregator is about to receive to the event log.
fn write_down(journal: &Journal, aggregator: &Aggregator, events: &[Event]) {
    let mut numbers = aggregator.newest_event() + 1..;
    for batch in events.chunks(journal::BATCH) {
        let lines = batch.iter().zip(&mut numbers);
        let line = |(event, number): (&Event, u64)| {
            LogEntry::new(number, aggregator.named(&event.account), event.clone(), aggregator.wall_clock())
        };
        journal.append(lines.map(line).collect());
    }
}

impl Recorder {
    fn take(&mut self, now: Timestamp, parts: &[Arc<Observed>], aggregator: &Aggregator) {
        if self.gap {
            // The full state includes what was just observed.
            return self.restate(now, aggregator);
        }
        self.gap = parts.iter().any(|part| self.sender.try_send(Arc::clone(part)).is_err());
    }

    /// Sends the full state, once half of the channel is free again.
    fn restate(&mut self, time: Timestamp, aggregator: &Aggregator) {
        if self.sender.capacity() >= WAITING / 2 {
            let what = Observation::Checkpoint(Box::new(aggregator.checkpoint()));
            self.gap = self.sender.try_send(Arc::new(Observed { time, what })).is_err();
        }
    }
}

/// Splits an observation into pieces of bounded size.
fn parts(what: Observation) -> std::vec::IntoIter<Observation> {
    let parts = match what {
        Observation::Events(events) => {
            events.chunks(EVENTS).map(|events| Observation::Events(events.to_vec())).collect()
        }
        other => vec![other],
    };
    parts.into_iter()
}

#[cfg(test)]
mod tests {
    use std::{collections::HashMap, net::Ipv4Addr};

    use super::*;
    use netqueue_domain::{
        AccountKey, AccountView, AggregatorSettings, Bracket, Counts, DropKind, Endpoint, Health, Netns,
        PerCounter, Queues, SocketId, What,
    };

    const HOST: Netns = Netns::at_attach(7);

    fn at(seconds: u64) -> Timestamp {
        Timestamp::from_nanos(seconds * 1_000_000_000)
    }

    fn settings() -> AggregatorSettings {
        AggregatorSettings { event_memory: 1 << 20, ..AggregatorSettings::of(HOST) }
    }

    fn web() -> AccountKey {
        let at = Endpoint { netns: HOST, addr: Ipv4Addr::LOCALHOST.into(), port: 80 };
        AccountKey::Listener { socket: SocketId(1), at }
    }

    fn dropped(second: u64) -> Event {
        Event {
            time: at(second),
            account: web(),
            local_port: 80,
            peer: None,
            what: What::Drop(DropKind::AcceptQueueFullSyn),
            kernel_reason: None,
            queues: Queues::default(),
            cpu: 0,
            age: None,
        }
    }

    /// Feeds one second in which `events` drops happened, of `total` so far.
    fn second(feed: &mut Feed, second: u64, total: u64, events: usize) {
        let counts = Counts::from_fn(
            |kind| if kind == DropKind::AcceptQueueFullSyn { total } else { 0 },
            |_| 0,
            |_| total,
        );
        let all = PerCounter::from_fn(|_| total);
        feed.tell(at(second), Observation::Counts(vec![(web(), counts)]));
        feed.tell(at(second), Observation::Events(vec![dropped(second); events]));
        feed.tell(at(second), Observation::Compared(HOST, Bracket { before: all, kernel: all, after: all }));
        feed.tell(
            at(second),
            Observation::Health(Box::new(Health { warnings: vec![second.to_string()], ..Health::default() })),
        );
    }

    fn replayed(recording: &mut Recording) -> Aggregator {
        let mut aggregator = Aggregator::new(settings(), at(0));
        while let Ok(observed) = recording.try_recv() {
            let observed = serde_json::to_string(&*observed).expect("it is written");
            let Observed { time, what } = serde_json::from_str(&observed).expect("it is read");
            aggregator.apply(time, what);
        }
        aggregator
    }

    fn assert_same(replayed: &Aggregator, live: &Aggregator) {
        let (replayed, live) = (replayed.snapshot(at(99)), live.snapshot(at(99)));
        // A recording begins with the state at that time: earlier events are not in its history.
        let known = |snapshot: &netqueue_domain::Snapshot| {
            let known =
                |account: &Arc<AccountView>| AccountView { history: Arc::default(), ..(**account).clone() };
            snapshot.accounts.iter().map(known).collect::<Vec<_>>()
        };
        assert_eq!(known(&replayed), known(&live));
        assert_eq!(replayed.namespaces, live.namespaces);
        assert_eq!(replayed.health, live.health);
        assert_eq!(replayed.events.appended(), live.events.appended());
        let all: HashMap<_, _> = live.events.newest_first().collect();
        assert!(replayed.events.newest_first().all(|(seq, event)| all.get(&seq) == Some(&event)));
    }

    #[test]
    fn a_recording_begun_in_the_middle_gives_the_same_picture() {
        let mut feed = Feed::new(Aggregator::new(settings(), at(0)));
        let start = PerCounter::from_fn(|_| 0);
        feed.tell(at(0), Observation::Baseline(HOST, Bracket { before: start, kernel: start, after: start }));
        second(&mut feed, 1, 10, 10);
        let mut recording = feed.record(at(1)).expect("nobody else records");
        second(&mut feed, 2, 1310, 1300);
        second(&mut feed, 3, 1311, 0);
        let replayed = replayed(&mut recording);
        assert_eq!(replayed.snapshot(at(3)).events.len(), 1300);
        assert_same(&replayed, feed.aggregator());
    }

    #[test]
    fn a_recorder_that_does_not_keep_up_misses_events_and_no_count() {
        let mut feed = Feed::new(Aggregator::new(settings(), at(0)));
        let mut recording = feed.record(at(0)).expect("nobody else records");
        (1..=80).for_each(|number| second(&mut feed, number, number * 10, 10));
        let mut aggregator = Aggregator::new(settings(), at(0));
        let mut take = |recording: &mut Recording, most: usize| {
            for observed in std::iter::from_fn(|| recording.try_recv().ok()).take(most) {
                aggregator.apply(observed.time, observed.what.clone());
            }
        };
        take(&mut recording, usize::MAX);
        (81..=82).for_each(|number| second(&mut feed, number, number * 10, 10));
        take(&mut recording, usize::MAX);
        assert_same(&aggregator, feed.aggregator());
        assert!(aggregator.snapshot(at(82)).events.len() < feed.aggregator().snapshot(at(82)).events.len());
    }

    #[test]
    fn more_recordings_than_may_be_made_are_refused_until_one_ends() {
        let mut feed = Feed::new(Aggregator::new(settings(), at(0)));
        let mut made: Vec<_> =
            (0..RECORDINGS).map(|_| feed.record(at(0)).expect("there is a place")).collect();
        assert!(feed.record(at(0)).is_none());
        made.pop();
        assert!(feed.record(at(0)).is_some());
    }
}
