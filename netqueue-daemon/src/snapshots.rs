//! How surfaces get the picture: the latest one at once, or a fresh one made for them.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::sync::{mpsc, oneshot, watch};

use netqueue_domain::{Observed, Snapshot};

/// What is observed, as it comes, to be written down. It ends with the daemon.
pub type Recording = mpsc::Receiver<Arc<Observed>>;

/// What a surface asks of the task that owns the aggregator.
#[derive(Debug)]
pub enum Request {
    /// A fresh snapshot.
    Picture(Asked<Arc<Snapshot>>),
    /// One for the metrics page: what is in it is from then on known outside, and peaks since the last scrape begin anew.
    Scrape(Asked<Arc<Snapshot>>),
    /// Everything observed from now on; `None` where enough do that already.
    Record(Asked<Option<Recording>>),
}

/// Someone who waits for an answer.
#[derive(Debug)]
pub struct Asked<T>(oneshot::Sender<T>);

impl<T> Asked<T> {
    /// Answers. A surface that has gone away meanwhile is no error: false then.
    pub fn answer(self, answer: T) -> bool {
        self.0.send(answer).is_ok()
    }
}

/// Where surfaces get snapshots from.
#[derive(Clone, Debug)]
pub struct Snapshots {
    latest: watch::Receiver<Arc<Snapshot>>,
    followers: Arc<AtomicUsize>,
    requests: mpsc::Sender<Request>,
}

/// The publishing end, held by the one task that owns the aggregator.
#[derive(Debug)]
pub struct Publisher {
    latest: watch::Sender<Arc<Snapshot>>,
    followers: Arc<AtomicUsize>,
    requests: mpsc::Receiver<Request>,
}

/// Both ends, starting with `first`.
#[must_use]
pub fn channel(first: Snapshot) -> (Publisher, Snapshots) {
    /// Scrapes and queries that may wait at once; more wait for a place.
    const WAITING: usize = 64;
    let (latest, latest_receiver) = watch::channel(Arc::new(first));
    let (sender, requests) = mpsc::channel(WAITING);
    let followers = Arc::<AtomicUsize>::default();
    let snapshots =
        Snapshots { latest: latest_receiver, followers: Arc::clone(&followers), requests: sender };
    (Publisher { latest, followers, requests }, snapshots)
}

impl Snapshots {
    /// The picture published last; at most about a second old.
    #[must_use]
    pub fn latest(&self) -> Arc<Snapshot> {
        self.latest.borrow().clone()
    }

    /// Waits for a picture that was not there the last time; false when none will come: the daemon stops.
    pub async fn changed(&mut self) -> bool {
        self.latest.changed().await.is_ok()
    }

    /// Every picture from now on, with new events within a tenth of a second.
    #[must_use]
    pub fn live(&self) -> Live {
        self.followers.fetch_add(1, Ordering::Relaxed);
        Live { latest: self.latest.clone(), followers: Arc::clone(&self.followers) }
    }

    /// A picture taken after this call. Where none comes within two seconds, the latest one: its `taken` tells.
    pub async fn fresh(&self) -> Arc<Snapshot> {
        self.ask(Request::Picture).await.unwrap_or_else(|| self.latest())
    }

    /// The same for the metrics page: from then on, peaks since the last scrape are counted anew.
    pub async fn scraped(&self) -> Arc<Snapshot> {
        self.ask(Request::Scrape).await.unwrap_or_else(|| self.latest())
    }

    /// Everything observed from now on; `None` where enough do that already, or nobody answers.
    pub async fn record(&self) -> Option<Recording> {
        self.ask(Request::Record).await.flatten()
    }

    async fn ask<T>(&self, request: impl FnOnce(Asked<T>) -> Request) -> Option<T> {
        const PATIENCE: Duration = Duration::from_secs(2);
        let asked = async {
            let (sender, receiver) = oneshot::channel();
            self.requests.send(request(Asked(sender))).await.ok()?;
            receiver.await.ok()
        };
        tokio::time::timeout(PATIENCE, asked).await.ok().flatten()
    }
}

/// Pictures as they are published, for who follows them.
#[derive(Debug)]
pub struct Live {
    latest: watch::Receiver<Arc<Snapshot>>,
    followers: Arc<AtomicUsize>,
}

impl Drop for Live {
    fn drop(&mut self) {
        self.followers.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Live {
    /// The picture published last.
    #[must_use]
    pub fn latest(&self) -> Arc<Snapshot> {
        self.latest.borrow().clone()
    }

    /// Waits for one that [`Self::latest`] has not given yet; false when none will come: the daemon stops.
    pub async fn changed(&mut self) -> bool {
        self.latest.changed().await.is_ok()
    }
}

impl Publisher {
    /// Whether anyone follows what happens as it happens.
    #[must_use]
    pub fn is_followed(&self) -> bool {
        self.followers.load(Ordering::Relaxed) > 0
    }

    /// The next request; `None` when no surface is left.
    pub async fn request(&mut self) -> Option<Request> {
        self.requests.recv().await
    }

    /// Publishes a picture.
    pub fn publish(&self, snapshot: Arc<Snapshot>) {
        self.latest.send_replace(snapshot);
    }
}
