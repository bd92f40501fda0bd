//! Task that owns the aggregator.
//!
//! Applies what its source observed, advances the time, and publishes snapshots.

mod alarm;
mod compare;
#[cfg(test)]
mod compare_tests;
mod feed;
mod live;
mod recorded;
mod schedule;
#[cfg(test)]
mod stopping_tests;

use std::{future::Future, io, sync::Arc, time::Duration};

use tokio::time::Instant;

use alarm::Alarm;
pub use feed::{Feed, RECORDINGS};
pub use live::Live;
use netqueue_domain::{Observation, Snapshot, Timestamp};
pub use recorded::{Recorded, Speed};

use crate::{
    memory,
    snapshots::{Publisher, Request},
};

/// Interval of draining while events come, so that the kernel side need not wake the daemon for each.
const BUSY: Duration = Duration::from_millis(20);
/// Interval of snapshots without requests: while no events come, it is the only reason to wake.
const IDLE: Duration = Duration::from_secs(1);

/// Interval of reading the counts while events come, to recognise a spike.
const WATCH: Duration = Duration::from_millis(250);

/// Interval of returning free memory to the system.
const TIDY: Duration = Duration::from_secs(30);

/// Source of observations: the running kernel, or a recording of one.
pub trait Source: Send {
    /// Returns the present time of the source.
    fn now(&self) -> Timestamp;

    /// Takes the baseline of the comparison.
    fn start(&mut self, feed: &mut Feed) -> impl Future<Output = ()> + Send;

    /// Waits until there may be something to drain. May be dropped and called again.
    ///
    /// # Errors
    /// The source is lost, so that the daemon sees nothing and must stop.
    fn ready(&mut self) -> impl Future<Output = io::Result<()>> + Send;

    /// Applies the events that have arrived. Returns whether there were any.
    fn drain(&mut self, feed: &mut Feed) -> bool;

    /// Does what cannot wait for the next refresh. Returns whether more of that will follow soon.
    fn drain_urgent(&mut self, feed: &mut Feed) -> bool;

    /// Reads the counts alone, applies them, and advances the time.
    fn poll_counters(&mut self, feed: &mut Feed);

    /// Reads everything that does not arrive by itself, applies it, and advances the time.
    fn look(&mut self, feed: &mut Feed) -> impl Future<Output = ()> + Send;
}

/// Source, aggregator, and the loop that connects them.
pub struct Pipeline<S> {
    source: S,
    feed: Feed,
    /// True once subscriptions and recordings have ended.
    ending: bool,
}

/// Least time between two requested snapshots; requests meanwhile share the next one.
const SHARED: Duration = Duration::from_millis(10);
/// Longest delay of events for subscribers.
const FOLLOWED: Duration = Duration::from_millis(100);

/// Reason why a wait ended.
enum Wakeup {
    Drain,
    Wait(Request),
    Serve,
    End,
    Stop,
}

impl<S: Source> Pipeline<S> {
    /// Connects a source, and takes the baseline with which its counts are compared.
    pub async fn start(mut source: S, mut feed: Feed) -> Self {
        source.start(&mut feed).await;
        Self { source, feed, ending: false }
    }

    /// Reads everything now, and takes a snapshot.
    pub async fn refresh(&mut self) -> Snapshot {
        self.source.drain(&mut self.feed);
        self.source.look(&mut self.feed).await;
        self.feed.snapshot(self.source.now())
    }

    /// Runs until `stop`, publishing at least once a second and for every request.
    ///
    /// At `ending`, which comes first, subscriptions and recordings get what there is and end; requests are
    /// answered until `stop`. Then a last snapshot is published, and the event log is written to its end.
    /// Returns the source, whose programs are attached until it is dropped.
    ///
    /// # Errors
    /// The source is lost, so that the daemon sees nothing and must stop; or no descriptor is left for a
    /// timer.
    pub async fn run(
        mut self,
        mut publisher: Publisher,
        ending: impl Future<Output = ()>,
        stop: impl Future<Output = ()>,
    ) -> anyhow::Result<S> {
        let (mut ending, mut stop) = (std::pin::pin!(ending), std::pin::pin!(stop));
        let mut alarm = Alarm::new()?;
        let (mut busy, mut published) = (false, Instant::now());
        let (mut watched, mut followed, mut waiting) = (published, published, Vec::new());
        let mut tidied = published;
        loop {
            let shared = published + SHARED;
            let due = if busy { Instant::now() + BUSY } else { published + IDLE };
            let turn = tokio::select! {
                biased;
                () = &mut stop => Wakeup::Stop,
                () = &mut ending, if !self.ending => Wakeup::End,
                Some(request) = publisher.request() => Wakeup::Wait(request),
                () = tokio::time::sleep_until(shared), if !waiting.is_empty() => Wakeup::Serve,
                woken = self.source.ready() => { woken?; Wakeup::Drain }
                rung = alarm.at(due) => { rung?; Wakeup::Drain }
            };
            match turn {
                Wakeup::Stop => {
                    publisher.publish(Arc::new(self.refresh().await));
                    return Ok(self.source);
                }
                Wakeup::End => {
                    publisher.end_subscriptions(Arc::new(self.refresh().await));
                    published = Instant::now();
                    self.feed.end_recordings();
                    self.ending = true;
                }
                Wakeup::Wait(request) => waiting.push(request),
                Wakeup::Drain => {
                    let any = self.source.drain(&mut self.feed);
                    busy = any | self.source.drain_urgent(&mut self.feed);
                    if published.elapsed() >= IDLE {
                        publisher.publish(Arc::new(self.refresh().await));
                        (published, watched) = (Instant::now(), Instant::now());
                        if tidied.elapsed() >= TIDY {
                            memory::give_back();
                            tidied = Instant::now();
                        }
                    } else if busy && watched.elapsed() >= WATCH {
                        self.source.poll_counters(&mut self.feed);
                        watched = Instant::now();
                    }
                    if any && publisher.is_followed() && followed.elapsed() >= FOLLOWED {
                        publisher.publish(Arc::new(self.feed.snapshot(self.source.now())));
                        followed = Instant::now();
                    }
                }
                Wakeup::Serve => {
                    // All requests came before this snapshot is taken, so it serves them all.
                    let snapshot = Arc::new(self.refresh().await);
                    publisher.publish(Arc::clone(&snapshot));
                    published = Instant::now();
                    waiting.drain(..).for_each(|request| self.serve(request, &snapshot));
                }
            }
        }
    }

    fn serve(&mut self, request: Request, snapshot: &Arc<Snapshot>) {
        match request {
            Request::Picture(request) => {
                request.answer(Arc::clone(snapshot));
            }
            Request::Scrape(request) => {
                // A requester that gave up waiting has not seen the peaks.
                if request.answer(Arc::clone(snapshot)) {
                    self.feed.tell(self.source.now(), Observation::Scraped);
                }
            }
            Request::Record(request) => {
                let now = self.source.now();
                request.answer(self.feed.record(now));
                if self.ending {
                    self.feed.end_recordings();
                }
            }
        }
    }
}
