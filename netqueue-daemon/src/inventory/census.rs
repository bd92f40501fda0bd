//! The thread that keeps the listeners known: it looks when told that something changed, and now and then by itself.

use std::{
    collections::{HashMap, HashSet},
    io,
    path::Path,
    sync::{
        Arc,
        mpsc::{self, RecvTimeoutError},
    },
    thread,
    time::{Duration, Instant},
};

use tokio::sync::mpsc as channel;

use super::{
    book::{self, Book},
    calls::Calls,
    idle::{IdleWatch, Raced},
    netns::Numbering,
    owners::Owners,
    places::Places,
    visit::{Place, VisitError, Visitor},
};
use crate::{
    clock,
    domain::{self, Changes, ListenCall, QueueState, SocketInode, Unknown},
};

/// How often everything is looked at, even if nothing was said to have changed.
const PERIOD: Duration = Duration::from_millis(800);
/// Between two looks there is at least this much time,
const REST: Duration = Duration::from_millis(100);
/// and so many times what the last one took, whoever asks for the next.
const REST_SHARE: u32 = 9;
/// Wake-ups that may wait to be heard; calls in those that find no room are missed.
const PENDING: usize = 256;

/// What the census does.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// Whether the processes that hold listeners are looked for.
    pub owners: bool,
}

/// Says that something changed.
#[derive(Clone, Debug)]
pub struct Waker(mpsc::SyncSender<Vec<ListenCall>>);

impl Waker {
    /// Makes the census look soon if there was any call. Returns how many it cannot be told, being busy with many others:
    /// of their listeners it says that it missed what they asked for.
    #[must_use]
    pub fn wake(&self, calls: Vec<ListenCall>) -> u64 {
        let number = calls.len() as u64;
        let told = number == 0 || self.0.try_send(calls).is_ok();
        if told { 0 } else { number }
    }
}

/// The census as its reader has it: dropping it ends the thread.
#[derive(Debug)]
pub struct Census {
    /// What each look changed.
    pub changes: channel::Receiver<Changes>,
    /// Makes it look.
    pub waker: Waker,
    /// Tells it whose connections to look at.
    pub raced: Raced,
}

/// Starts the thread.
///
/// # Errors
/// There can be no thread.
pub fn start(settings: Settings, who: Numbering) -> io::Result<Census> {
    let (wake, woken) = mpsc::sync_channel(PENDING);
    let (sender, changes) = channel::channel(1);
    let raced = Raced::default();
    let told = raced.clone();
    thread::Builder::new()
        .name("inventory".to_owned())
        .spawn(move || run(settings, who, told, &woken, &sender))?;
    Ok(Census { changes, waker: Waker(wake), raced })
}

/// Everything the thread keeps from one look to the next.
struct Keeper {
    who: Numbering,
    visitor: Visitor,
    places: Places,
    book: Book,
    calls: Calls,
    /// `None` where nobody's owners are to be looked for.
    owners: Option<Owners>,
    /// The queues as they were told last.
    told: HashMap<SocketInode, QueueState>,
    raced: Raced,
    idle: IdleWatch,
    /// Where the servers are whose connections are watched.
    raced_places: Vec<Place>,
    last_took: Duration,
    cost: domain::Census,
}

fn run(
    settings: Settings,
    who: Numbering,
    raced: Raced,
    woken: &mpsc::Receiver<Vec<ListenCall>>,
    changes: &channel::Sender<Changes>,
) {
    let mut keeper = Keeper {
        visitor: Visitor::of_this_thread(Arc::clone(&who)),
        places: Places::default(),
        book: Book::default(),
        calls: Calls::default(),
        owners: settings.owners.then(|| Owners::new("/proc")),
        told: HashMap::new(),
        raced,
        idle: IdleWatch::default(),
        raced_places: Vec::new(),
        last_took: Duration::ZERO,
        who,
        cost: domain::Census::default(),
    };
    loop {
        if changes.blocking_send(keeper.look()).is_err() {
            return;
        }
        if !keeper.rest(woken) {
            return;
        }
    }
}

impl Keeper {
    /// Waits until the next look is due, or asked for; `false` when nobody is left who could ask.
    ///
    /// However many listeners there are, looking takes at most a tenth of one CPU while they come and go, and a twentieth while
    /// they do not. The connections of servers that are raced are looked at meanwhile: how long one was idle when its server
    /// closed it is known as exactly as it was seen often.
    fn rest(&mut self, woken: &mpsc::Receiver<Vec<ListenCall>>) -> bool {
        let soonest = Instant::now() + REST.max(self.last_took * REST_SHARE);
        let latest = soonest + PERIOD.max(self.last_took * 20);
        let (mut looked, mut raced_took) = (Instant::now(), Duration::ZERO);
        loop {
            let now = Instant::now();
            let Some(left) = latest.checked_duration_since(now).filter(|left| !left.is_zero()) else {
                return true;
            };
            let raced = looked + PERIOD.max(raced_took * REST_SHARE);
            if self.idle.is_watching() && raced <= now {
                raced_took = self.look_at_raced();
                looked = Instant::now();
                continue;
            }
            let wait = if self.idle.is_watching() { left.min(raced.duration_since(now)) } else { left };
            if let Some(early) = soonest.checked_duration_since(now).filter(|early| !early.is_zero()) {
                thread::sleep(wait.min(early));
            } else {
                match woken.recv_timeout(wait) {
                    Ok(calls) => {
                        self.calls.hear(calls);
                        woken.try_iter().for_each(|calls| self.calls.hear(calls));
                        return true;
                    }
                    Err(RecvTimeoutError::Timeout) => {}
                    Err(RecvTimeoutError::Disconnected) => return false,
                }
            }
        }
    }

    /// Looks at the connections of raced servers, and at nothing else. Returns how long it took.
    fn look_at_raced(&mut self) -> Duration {
        let start = Instant::now();
        for place in &self.raced_places {
            if self.visitor.goes_to(place) {
                self.idle.look(place.netns, clock::now());
            }
        }
        self.visitor.go_home();
        start.elapsed()
    }

    /// Looks at every namespace, and then for whoever holds what was found there.
    fn look(&mut self) -> Changes {
        let (mut changes, start) = (Changes::default(), Instant::now());
        let places = self.places.search(Path::new("/proc"), &*self.who, start);
        let now = clock::now();
        let mut visits = Vec::new();
        self.idle.begin(&self.raced);
        for place in &places {
            match self.visitor.visit(place) {
                Ok(visit) => {
                    if self.idle.watches(place.netns) && self.visitor.goes_to(place) {
                        self.idle.look(place.netns, clock::now());
                    }
                    visits.push((place.netns, visit));
                }
                Err(VisitError::Gone) => changes.listeners.extend(self.book.forget(place.netns, now)),
                Err(error @ VisitError::Closed(_)) => {
                    changes.warnings.push(format!("listeners of namespace {}: {error}", place.netns));
                }
            }
        }
        self.visitor.go_home();
        self.raced_places = places.iter().filter(|place| self.idle.watches(place.netns)).cloned().collect();
        let found: HashSet<_> = places.iter().map(|place| place.netns).collect();
        for netns in book::vanished(&self.book, &found) {
            changes.listeners.extend(self.book.forget(netns, now));
        }

        let seen = || visits.iter().flat_map(|(_, visit)| &visit.listeners);
        let queues: HashMap<_, _> = seen().filter_map(|seen| Some((seen.inode, seen.queue.ok()?))).collect();
        let news = queues.iter().filter(|(inode, queue)| self.told.get(inode) != Some(queue));
        changes.queues = news.map(|(inode, queue)| (*inode, *queue)).collect();
        self.told = queues;
        if let Some(owners) = &mut self.owners {
            owners.refresh(&seen().map(|seen| seen.inode).collect(), Instant::now());
        }
        let owners = self.owners.as_ref();
        let of = |socket| owners.map_or(Err(Unknown::SwitchedOff), |owners| owners.of(socket));
        self.cost.namespaces = visits.len() as u64;
        self.cost.listeners = visits.iter().map(|(_, visit)| visit.listeners.len() as u64).sum();
        for (netns, visit) in visits {
            changes.listeners.extend(self.book.note(netns, visit, &self.calls, &of, now));
        }
        self.calls.forget(now);
        self.cost.calls_lost = self.calls.lost();
        self.cost.looks += 1;
        self.last_took = start.elapsed();
        self.cost.took += self.last_took;
        self.cost.owners = self.owners.as_ref().map(Owners::cost).unwrap_or_default();
        changes.idle_limits = self.idle.limits();
        changes.census = self.cost;
        changes
    }
}
