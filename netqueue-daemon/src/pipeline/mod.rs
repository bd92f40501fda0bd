//! The one task that owns the aggregator: it lets its source tell what was observed, tells the time, publishes snapshots.

mod alarm;
mod compare;
mod feed;
mod live;
mod recorded;
mod schedule;

use std::{future::Future, io, sync::Arc, time::Duration};

use tokio::time::Instant;

use alarm::Alarm;
pub use feed::{Feed, RECORDINGS};
pub use live::Live;
pub use recorded::{Recorded, Speed};

use crate::{
    memory,
    snapshots::{Publisher, Request},
};
use netqueue_domain::{Observation, Snapshot, Timestamp};

/// While events come, the source is drained this often: the kernel side need not wake us for each.
const BUSY: Duration = Duration::from_millis(20);
/// When none come, this long after the last picture: one waking is enough for the next.
const IDLE: Duration = Duration::from_secs(1);

/// While events come, the counts are read this often, to tell a spike from what is ordinary.
const WATCH: Duration = Duration::from_millis(250);

/// So often memory that is free goes back to the system.
const TIDY: Duration = Duration::from_secs(30);

/// Where observations come from: the running kernel, or a recording of one.
pub trait Source: Send {
    /// What time it is there.
    fn now(&self) -> Timestamp;

    /// Takes the state from which on is compared.
    fn start(&mut self, feed: &mut Feed) -> impl Future<Output = ()> + Send;

    /// Waits until there may be something to drain. May be dropped and called again.
    ///
    /// # Errors
    /// The source is lost; the daemon is blind then and must not go on.
    fn ready(&mut self) -> impl Future<Output = io::Result<()>> + Send;

    /// Tells the events that are there. Returns whether there was any.
    fn drain(&mut self, feed: &mut Feed) -> bool;

    /// Does what cannot wait for the next look. Returns whether there will be more of that soon.
    fn hurry(&mut self, feed: &mut Feed) -> bool;

    /// Looks at the counts alone, and tells them and the time.
    fn glance(&mut self, feed: &mut Feed);

    /// Looks at everything that does not come by itself, and tells it and the time.
    fn look(&mut self, feed: &mut Feed) -> impl Future<Output = ()> + Send;
}

/// A source, the aggregator, and what connects them.
pub struct Pipeline<S> {
    source: S,
    feed: Feed,
}

/// Between two pictures taken because someone asked lies at least this: whoever asks meanwhile shares the next one.
const SHARED: Duration = Duration::from_millis(10);
/// Who follows events gets them after no more than this.
const FOLLOWED: Duration = Duration::from_millis(100);

/// What ended a wait.
enum Turn {
    Drain,
    Wait(Request),
    Serve,
    Stop,
}

impl<S: Source> Pipeline<S> {
    /// Connects a source, and takes the baseline its counts are compared with.
    pub async fn start(mut source: S, mut feed: Feed) -> Self {
        source.start(&mut feed).await;
        Self { source, feed }
    }

    /// A picture of everything, read now.
    pub async fn refresh(&mut self) -> Snapshot {
        self.source.drain(&mut self.feed);
        self.source.look(&mut self.feed).await;
        self.feed.snapshot(self.source.now())
    }

    /// Runs until `stop`, publishing at least once a second and for every request.
    ///
    /// # Errors
    /// The source is lost, and the daemon is blind and must not go on; or there is no descriptor left for a timer.
    pub async fn run(
        mut self,
        mut publisher: Publisher,
        stop: impl Future<Output = ()>,
    ) -> anyhow::Result<()> {
        let mut stop = std::pin::pin!(stop);
        let mut alarm = Alarm::new()?;
        let (mut busy, mut published) = (false, Instant::now());
        let (mut watched, mut followed, mut waiting) = (published, published, Vec::new());
        let mut tidied = published;
        loop {
            let shared = published + SHARED;
            let due = if busy { Instant::now() + BUSY } else { published + IDLE };
            let turn = tokio::select! {
                biased;
                () = &mut stop => Turn::Stop,
                Some(request) = publisher.request() => Turn::Wait(request),
                () = tokio::time::sleep_until(shared), if !waiting.is_empty() => Turn::Serve,
                woken = self.source.ready() => { woken?; Turn::Drain }
                rung = alarm.at(due) => { rung?; Turn::Drain }
            };
            match turn {
                Turn::Stop => return Ok(()),
                Turn::Wait(request) => waiting.push(request),
                Turn::Drain => {
                    let any = self.source.drain(&mut self.feed);
                    busy = any | self.source.hurry(&mut self.feed);
                    if published.elapsed() >= IDLE {
                        publisher.publish(Arc::new(self.refresh().await));
                        (published, watched) = (Instant::now(), Instant::now());
                        if tidied.elapsed() >= TIDY {
                            memory::give_back();
                            tidied = Instant::now();
                        }
                    } else if busy && watched.elapsed() >= WATCH {
                        self.source.glance(&mut self.feed);
                        watched = Instant::now();
                    }
                    if any && publisher.is_followed() && followed.elapsed() >= FOLLOWED {
                        publisher.publish(Arc::new(self.feed.snapshot(self.source.now())));
                        followed = Instant::now();
                    }
                }
                Turn::Serve => {
                    // All of them asked before this picture is taken: it serves them all.
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
                // One that gave up waiting was told of no peak.
                if request.answer(Arc::clone(snapshot)) {
                    self.feed.tell(self.source.now(), Observation::Scraped);
                }
            }
            Request::Record(request) => {
                let now = self.source.now();
                request.answer(self.feed.record(now));
            }
        }
    }
}
