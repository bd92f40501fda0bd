//! The thread that keeps the listeners known: it looks when told that something changed, and now and then by itself.

use std::{
    collections::HashSet,
    io,
    path::Path,
    sync::mpsc::{self, RecvTimeoutError},
    thread,
    time::Duration,
};

use tokio::sync::mpsc as channel;

use super::{
    book::{self, Book},
    places,
    visit::{VisitError, Visitor},
};
use crate::{
    clock,
    domain::{Changes, Unknown},
};

/// How often everything is looked at, even if nothing was said to have changed.
const PERIOD: Duration = Duration::from_secs(1);
/// Between two looks there is at least this much time.
const REST: Duration = Duration::from_millis(100);

/// Says that something changed.
#[derive(Clone, Debug)]
pub struct Waker(mpsc::SyncSender<()>);

impl Waker {
    /// Makes the census look soon. That it was told so already, or has ended, is no error.
    pub fn wake(&self) {
        let _told_already = self.0.try_send(());
    }
}

/// The census as its reader has it: dropping it ends the thread.
#[derive(Debug)]
pub struct Census {
    /// What each look changed.
    pub changes: channel::Receiver<Changes>,
    /// Makes it look.
    pub waker: Waker,
}

/// Starts the thread.
///
/// # Errors
/// There can be no thread.
pub fn start() -> io::Result<Census> {
    let (wake, woken) = mpsc::sync_channel(1);
    let (sender, changes) = channel::channel(1);
    thread::Builder::new().name("inventory".to_owned()).spawn(move || run(&woken, &sender))?;
    Ok(Census { changes, waker: Waker(wake) })
}

fn run(woken: &mpsc::Receiver<()>, changes: &channel::Sender<Changes>) {
    let mut visitor = Visitor::of_this_thread();
    let mut book = Book::default();
    loop {
        if changes.blocking_send(look(&mut visitor, &mut book)).is_err() {
            return;
        }
        thread::sleep(REST);
        match woken.recv_timeout(PERIOD) {
            Ok(()) | Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return,
        }
    }
}

/// Looks at every namespace.
fn look(visitor: &mut Visitor, book: &mut Book) -> Changes {
    let mut changes = Changes::default();
    let places = places::search(Path::new("/proc"));
    let now = clock::now();
    let owners = |_| Err(Unknown::NotYet);
    for place in &places {
        match visitor.visit(place) {
            Ok(visit) => {
                let queue = |seen: &super::sock_diag::Seen| Some((seen.inode, seen.queue.ok()?));
                changes.queues.extend(visit.listeners.iter().filter_map(queue));
                changes.listeners.extend(book.note(place.netns, visit, &owners, now));
            }
            Err(VisitError::Gone) => changes.listeners.extend(book.forget(place.netns, now)),
            Err(error @ VisitError::Closed(_)) => {
                changes.warnings.push(format!("listeners of namespace {}: {error}", place.netns));
            }
        }
    }
    visitor.go_home();
    let found: HashSet<_> = places.iter().map(|place| place.netns).collect();
    for netns in book::vanished(book, &found) {
        changes.listeners.extend(book.forget(netns, now));
    }
    changes
}
