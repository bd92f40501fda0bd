//! Tests of the order in which a pipeline stops, with a source that counts how often it is read.

use std::{
    future::{self, Future},
    io,
    time::Duration,
};

use netqueue_domain::{Health, Netns, Observation, Snapshot, Timestamp};
use tokio::{sync::oneshot, time::timeout};

use super::{Feed, Pipeline, Source};
use crate::snapshots;

const NOW: Timestamp = Timestamp::from_nanos(9);

/// Source whose warning is the number of its readings.
#[derive(Default)]
struct Counting {
    readings: usize,
}

impl Source for Counting {
    fn now(&self) -> Timestamp {
        NOW
    }

    async fn start(&mut self, _feed: &mut Feed) {}

    fn ready(&mut self) -> impl Future<Output = io::Result<()>> + Send {
        future::pending()
    }

    fn drain(&mut self, _feed: &mut Feed) -> bool {
        false
    }

    fn drain_urgent(&mut self, _feed: &mut Feed) -> bool {
        false
    }

    fn poll_counters(&mut self, _feed: &mut Feed) {}

    async fn look(&mut self, feed: &mut Feed) {
        self.readings += 1;
        let warnings = vec![self.readings.to_string()];
        feed.tell(NOW, Observation::Health(Box::new(Health { warnings, ..Health::default() })));
    }
}

/// Returns the number of the reading from which a snapshot was taken.
fn reading(snapshot: &Snapshot) -> usize {
    snapshot.health.warnings[0].parse().expect("a number")
}

#[tokio::test]
async fn followers_end_first_requests_are_answered_and_the_last_reading_is_published() {
    let mut pipeline = Pipeline::start(Counting::default(), Feed::of(Netns::at_attach(1))).await;
    let (publisher, snapshots) = snapshots::channel(pipeline.refresh().await);
    let (end, ending) = oneshot::channel::<()>();
    let (stop, stopped) = oneshot::channel::<()>();
    let running =
        tokio::spawn(pipeline.run(publisher, async { drop(ending.await) }, async { drop(stopped.await) }));
    let mut live = snapshots.live();
    let mut recording = snapshots.record().await.expect("nobody else records");

    end.send(()).expect("it runs");
    let within = Duration::from_secs(5);
    timeout(within, async { while live.changed().await {} }).await.expect("subscriptions end");
    timeout(within, async { while recording.recv().await.is_some() {} }).await.expect("recordings end");
    let before = reading(&snapshots.latest());
    let fresh = snapshots.fresh().await;
    assert!(reading(&fresh) > before, "requests are answered with a fresh snapshot");
    let mut late = snapshots.record().await.expect("begun");
    timeout(within, async { while late.recv().await.is_some() {} }).await.expect("ended at once");

    stop.send(()).expect("it runs");
    let source = running.await.expect("it ends").expect("in order");
    assert_eq!(reading(&snapshots.latest()), source.readings, "the last snapshot has the last reading");
    assert!(source.readings > reading(&fresh));
}
