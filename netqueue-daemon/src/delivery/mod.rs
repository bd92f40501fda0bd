//! Delivery of spike alerts to an Alertmanager or a webhook.
//!
//! For hosts whose Prometheus scrapes seldom or not at all. Notifications are made from snapshots, like
//! metrics and API; those that cannot be delivered are retried with growing pauses, bounded in number, and
//! counted.

mod message;
mod outbox;
mod post;
mod target;

use std::time::{Duration, Instant};

use prometheus::{IntCounterVec, Opts};

pub use target::{Kind, Target, WebhookEndpoint};

use crate::{clock, snapshots::Snapshots};
use netqueue_domain::Snapshot;
use outbox::Outbox;

/// Least time between two examinations of snapshots, which come at least once a second.
const LOOK: Duration = Duration::from_millis(500);

/// Metrics of notifications: one series for each kind of target and outcome.
/// Targets that are not set have series too, so that a rate exists from the first notification on.
#[derive(Clone, Debug)]
pub struct DeliveryMetrics(IntCounterVec);

impl DeliveryMetrics {
    /// Makes the metrics, all zero.
    ///
    /// # Errors
    /// Prometheus does not allow the names, which it does.
    pub fn new() -> prometheus::Result<Self> {
        let help = "Notices of spikes by what became of them: delivered, refused (attempts that failed and are made again), or lost.";
        let counters =
            IntCounterVec::new(Opts::new("netqueue_spike_notices_total", help), &["target", "outcome"])?;
        for kind in [Kind::Alertmanager, Kind::Webhook] {
            for outcome in ["delivered", "lost", "refused"] {
                counters.with_label_values(&[kind.as_str(), outcome]).reset();
            }
        }
        Ok(Self(counters))
    }

    /// Returns the metrics for the metrics page.
    #[must_use]
    pub fn collector(&self) -> IntCounterVec {
        self.0.clone()
    }

    fn add(&self, kind: Kind, outcome: &str, number: usize) {
        self.0.with_label_values(&[kind.as_str(), outcome]).inc_by(u64::try_from(number).unwrap_or(u64::MAX));
    }
}

/// Delivers to `target` until there are no more snapshots; the last one is examined whenever it comes.
pub async fn deliver(target: Target, instance: String, mut snapshots: Snapshots, tally: DeliveryMetrics) {
    let (mut outbox, mut looked) = (Outbox::new(target.kind().refresh()), None::<Instant>);
    tracing::info!(%target, "spikes are told");
    let mut more = true;
    while more {
        more = snapshots.changed().await;
        if more && looked.is_some_and(|looked| looked.elapsed() < LOOK) {
            continue;
        }
        looked = Some(Instant::now());
        let snapshot = snapshots.latest();
        let lost = outbox.look(&snapshot.spikes, clock::now());
        tally.add(target.kind(), "lost", lost);
        step(&target, &instance, &snapshot, &mut outbox, &tally).await;
    }
}

/// Sends what is due, if anything is.
async fn step(
    target: &Target,
    instance: &str,
    snapshot: &Snapshot,
    outbox: &mut Outbox,
    tally: &DeliveryMetrics,
) {
    let Some(letters) = outbox.due(clock::now()) else { return };
    let body = message::body(target.kind(), &letters, snapshot, instance).to_string();
    match post::post(target, body).await {
        Ok(()) => {
            let told = outbox.delivered(clock::now());
            tally.add(target.kind(), "delivered", told);
        }
        Err(error) => {
            let pause = outbox.refused(clock::now());
            tally.add(target.kind(), "refused", 1);
            tracing::warn!(%target, %error, again_in_seconds = pause.as_secs(), "a spike could not be told");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use netqueue_domain::{Aggregator, AggregatorSettings, Netns, Timestamp};
    use tokio::{
        io::{AsyncReadExt as _, AsyncWriteExt as _},
        net::TcpListener,
    };

    use super::*;
    use crate::snapshots;

    #[tokio::test]
    async fn the_last_snapshot_is_told_however_soon_it_follows_another() {
        let aggregator =
            Aggregator::new(AggregatorSettings::of(Netns::at_attach(1)), Timestamp::from_nanos(1));
        let quiet = || aggregator.snapshot(Timestamp::from_nanos(2));
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let place = format!("http://{}/", listener.local_addr().expect("an address"));
        let target = Target::new(Kind::Webhook, place.parse().expect("a place"));
        let (publisher, snapshots) = snapshots::channel(quiet());
        let told = DeliveryMetrics::new().expect("counters");
        let delivering = tokio::spawn(deliver(target, "here".to_owned(), snapshots, told.clone()));
        publisher.publish(Arc::new(quiet()));
        tokio::task::yield_now().await;
        let spikes = Arc::from([message::tests::spike(1)]);
        publisher.publish(Arc::new(Snapshot { spikes, ..quiet() }));
        drop(publisher);
        let (mut client, _) = listener.accept().await.expect("a notification");
        let mut request = [0; 4096];
        let read = client.read(&mut request).await.expect("a request");
        assert!(String::from_utf8_lossy(&request[..read]).starts_with("POST / HTTP/1.1"));
        client.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await.expect("answered");
        delivering.await.expect("it ends");
        assert_eq!(told.collector().with_label_values(&["webhook", "delivered"]).get(), 1);
    }
}
