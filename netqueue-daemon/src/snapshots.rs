//! How surfaces get the picture: the latest one at once, or a fresh one made for them.

use std::{sync::Arc, time::Duration};

use tokio::sync::{mpsc, oneshot, watch};

use crate::domain::Snapshot;

/// A surface asking for a fresh snapshot.
#[derive(Debug)]
pub struct Request {
    answer: oneshot::Sender<Arc<Snapshot>>,
    scrape: bool,
}

impl Request {
    /// Answers it. A surface that has gone away meanwhile is no error.
    pub fn answer(self, snapshot: Arc<Snapshot>) {
        let _gone = self.answer.send(snapshot);
    }

    /// Whether the metrics page is made from it.
    #[must_use]
    pub const fn is_scrape(&self) -> bool {
        self.scrape
    }
}

/// Where surfaces get snapshots from.
#[derive(Clone, Debug)]
pub struct Snapshots {
    latest: watch::Receiver<Arc<Snapshot>>,
    requests: mpsc::Sender<Request>,
}

/// The publishing end, held by the one task that owns the aggregator.
#[derive(Debug)]
pub struct Publisher {
    latest: watch::Sender<Arc<Snapshot>>,
    requests: mpsc::Receiver<Request>,
}

/// Both ends, starting with `first`.
#[must_use]
pub fn channel(first: Snapshot) -> (Publisher, Snapshots) {
    /// Scrapes and queries that may wait at once; more wait for a place.
    const WAITING: usize = 64;
    let (latest, latest_receiver) = watch::channel(Arc::new(first));
    let (sender, requests) = mpsc::channel(WAITING);
    (Publisher { latest, requests }, Snapshots { latest: latest_receiver, requests: sender })
}

impl Snapshots {
    /// The picture published last; at most about a second old.
    #[must_use]
    pub fn latest(&self) -> Arc<Snapshot> {
        self.latest.borrow().clone()
    }

    /// A picture taken after this call. Where none comes within two seconds, the latest one: its `taken` tells.
    pub async fn fresh(&self) -> Arc<Snapshot> {
        self.ask(false).await
    }

    /// The same for the metrics page: what is shown there is from then on known outside.
    pub async fn scrape(&self) -> Arc<Snapshot> {
        self.ask(true).await
    }

    async fn ask(&self, scrape: bool) -> Arc<Snapshot> {
        const PATIENCE: Duration = Duration::from_secs(2);
        let asked = async {
            let (sender, receiver) = oneshot::channel();
            self.requests.send(Request { answer: sender, scrape }).await.ok()?;
            receiver.await.ok()
        };
        match tokio::time::timeout(PATIENCE, asked).await {
            Ok(Some(snapshot)) => snapshot,
            Ok(None) | Err(_) => self.latest(),
        }
    }
}

impl Publisher {
    /// The next request; `None` when no surface is left.
    pub async fn request(&mut self) -> Option<Request> {
        self.requests.recv().await
    }

    /// Requests that wait already: one picture serves them all.
    pub fn more_requests(&mut self) -> impl Iterator<Item = Request> + '_ {
        std::iter::from_fn(|| self.requests.try_recv().ok())
    }

    /// Publishes a picture.
    pub fn publish(&self, snapshot: Arc<Snapshot>) {
        self.latest.send_replace(snapshot);
    }
}
