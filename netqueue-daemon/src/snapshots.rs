//! Distribution of snapshots: the latest one at once, or a fresh one made on request.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::sync::{mpsc, oneshot, watch};

use netqueue_domain::{Observed, Snapshot};

/// Observations in the order of their arrival, to be recorded; ends when the daemon does.
pub type Recording = mpsc::Receiver<Arc<Observed>>;

/// Request to the task that owns the aggregator.
#[derive(Debug)]
pub enum Request {
    /// Fresh snapshot.
    Picture(Asked<Arc<Snapshot>>),
    /// Fresh snapshot for the metrics page: it counts as scraped, and peaks since the last scrape restart.
    Scrape(Asked<Arc<Snapshot>>),
    /// Recording of everything observed from now on; `None` if enough recordings are in progress.
    Record(Asked<Option<Recording>>),
}

/// Sender for the answer to a request.
#[derive(Debug)]
pub struct Asked<T>(oneshot::Sender<T>);

impl<T> Asked<T> {
    /// Answers the request. False if the requester has gone away meanwhile, which is no error.
    pub fn answer(self, answer: T) -> bool {
        self.0.send(answer).is_ok()
    }
}

/// Handle from which metrics, API and page get snapshots.
#[derive(Clone, Debug)]
pub struct Snapshots {
    latest: watch::Receiver<Arc<Snapshot>>,
    last: watch::Receiver<Option<Arc<Snapshot>>>,
    followers: Arc<AtomicUsize>,
    requests: mpsc::Sender<Request>,
}

/// Publishing end, owned by the task that owns the aggregator.
#[derive(Debug)]
pub struct Publisher {
    latest: watch::Sender<Arc<Snapshot>>,
    /// Last snapshot of all subscriptions, once they end.
    last: watch::Sender<Option<Arc<Snapshot>>>,
    followers: Arc<AtomicUsize>,
    requests: mpsc::Receiver<Request>,
}

/// Makes both ends, with `first` as the latest snapshot.
#[must_use]
pub fn channel(first: Snapshot) -> (Publisher, Snapshots) {
    /// Requests that may wait at once; further requesters wait until one is taken.
    const WAITING: usize = 64;
    let (latest, latest_receiver) = watch::channel(Arc::new(first));
    let (last, last_receiver) = watch::channel(None);
    let (sender, requests) = mpsc::channel(WAITING);
    let followers = Arc::<AtomicUsize>::default();
    let snapshots = Snapshots {
        latest: latest_receiver,
        last: last_receiver,
        followers: Arc::clone(&followers),
        requests: sender,
    };
    (Publisher { latest, last, followers, requests }, snapshots)
}

impl Snapshots {
    /// Returns the latest snapshot, at most about a second old.
    #[must_use]
    pub fn latest(&self) -> Arc<Snapshot> {
        self.latest.borrow().clone()
    }

    /// Waits for a snapshot not seen yet. False if there will be none because the daemon stops.
    pub async fn changed(&mut self) -> bool {
        self.latest.changed().await.is_ok()
    }

    /// Subscribes to all snapshots from now on; new events appear in them within a tenth of a second.
    #[must_use]
    pub fn live(&self) -> Live {
        self.followers.fetch_add(1, Ordering::Relaxed);
        Live { latest: self.latest.clone(), last: self.last.clone(), followers: Arc::clone(&self.followers) }
    }

    /// Returns whether the daemon is stopping: requests are still answered, subscriptions have ended.
    #[must_use]
    pub fn are_ending(&self) -> bool {
        self.last.borrow().is_some()
    }

    /// Returns a snapshot taken after this call; after two seconds without one, the latest (see its
    /// `taken`).
    pub async fn fresh(&self) -> Arc<Snapshot> {
        self.ask(Request::Picture).await.unwrap_or_else(|| self.latest())
    }

    /// Returns a fresh snapshot for the metrics page, after which peaks since the last scrape restart.
    pub async fn scraped(&self) -> Arc<Snapshot> {
        self.ask(Request::Scrape).await.unwrap_or_else(|| self.latest())
    }

    /// Starts a recording; `None` if enough are in progress or nobody answers.
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

/// Subscription to snapshots as they are published.
#[derive(Debug)]
pub struct Live {
    latest: watch::Receiver<Arc<Snapshot>>,
    last: watch::Receiver<Option<Arc<Snapshot>>>,
    followers: Arc<AtomicUsize>,
}

impl Drop for Live {
    fn drop(&mut self) {
        self.followers.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Live {
    /// Returns the latest snapshot; the last one of the subscription once that ends.
    #[must_use]
    pub fn latest(&self) -> Arc<Snapshot> {
        let last = self.last.borrow().clone();
        last.unwrap_or_else(|| self.latest.borrow().clone())
    }

    /// Returns whether the subscription ends, so that no snapshot follows the latest.
    #[must_use]
    pub fn is_ending(&self) -> bool {
        self.last.borrow().is_some()
    }

    /// Waits for a snapshot that [`Self::latest`] has not returned yet.
    /// False if there will be none because the daemon stops.
    pub async fn changed(&mut self) -> bool {
        if self.is_ending() {
            return self.last.has_changed().unwrap_or(false) && self.last.changed().await.is_ok();
        }
        tokio::select! {
            biased;
            changed = self.latest.changed() => changed.is_ok(),
            last = self.last.changed() => last.is_ok(),
        }
    }
}

impl Publisher {
    /// Returns whether there is a subscription, for which new events are published sooner.
    #[must_use]
    pub fn is_followed(&self) -> bool {
        self.followers.load(Ordering::Relaxed) > 0
    }

    /// Waits for the next request; `None` if no requester is left.
    pub async fn request(&mut self) -> Option<Request> {
        self.requests.recv().await
    }

    /// Publishes the last snapshot of all subscriptions, those to come as well.
    /// Further ones are only for who asks.
    pub fn end_subscriptions(&self, last: Arc<Snapshot>) {
        self.publish(Arc::clone(&last));
        self.last.send_replace(Some(last));
    }

    /// Publishes a snapshot.
    pub fn publish(&self, snapshot: Arc<Snapshot>) {
        self.latest.send_replace(snapshot);
    }
}
