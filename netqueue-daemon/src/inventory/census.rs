//! The thread that keeps the listeners known: it looks when told that something changed, and now and then by itself.

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    io,
    path::Path,
    sync::{
        Arc, Mutex, PoisonError,
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
use crate::clock::{self, CpuTime};
use netqueue_domain::{
    self as domain, Changes, IdleLimit, ListenCall, Netns, QueueState, SocketInode, Unknown,
};

/// How often everything is looked at, even if nothing was said to have changed.
pub const PERIOD: Duration = Duration::from_millis(800);
/// How often at least, where new listeners tell of themselves, and nothing has changed and nothing was charged for a while.
const QUIET: Duration = Duration::from_secs(3);
/// Between two looks there is at least this much time,
const REST: Duration = Duration::from_millis(100);
/// and so many times what the last one took of a CPU, whoever asks for the next.
const REST_SHARE: u32 = 9;
/// So many times more where nobody asks and nobody is looked for.
const QUIET_SHARE: u32 = 20;
/// Wake-ups that may wait to be heard; calls in those that find no room are missed.
const PENDING: usize = 256;

/// What the census does.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// Whether the processes that hold listeners are looked for.
    pub owners: bool,
    /// Whether it is told of listen() calls: else new listeners are found only by looking often.
    pub told: bool,
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

    /// Says whose connections are to be looked at; makes the census look sooner if there are others than before.
    pub fn watch(&self, raced: &Raced, servers: BTreeSet<(Netns, u16)>) {
        if raced.set(servers) {
            self.stir();
        }
    }

    /// Says that something happens somewhere: the census looks as soon as it would had it not been quiet before.
    pub fn stir(&self) {
        // Where there is no room, it is about to look.
        let _heard = self.0.try_send(Vec::new());
    }
}

/// What looking has cost so far: known without being told, as most looks find nothing new.
#[derive(Clone, Debug, Default)]
pub struct Cost(Arc<Mutex<domain::Census>>);

impl Cost {
    /// As of the last look whose changes were told.
    #[must_use]
    pub fn now(&self) -> domain::Census {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set(&self, cost: domain::Census) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = cost;
    }
}

/// The census as its reader has it: dropping it ends the thread.
#[derive(Debug)]
pub struct Census {
    /// What a look changed; one that changed nothing is not told of.
    pub changes: channel::Receiver<Changes>,
    /// What it has cost.
    pub cost: Cost,
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
    let (raced, cost) = (Raced::default(), Cost::default());
    let (watched, spent) = (raced.clone(), cost.clone());
    thread::Builder::new()
        .name("inventory".to_owned())
        .spawn(move || run(settings, who, watched, &spent, &woken, &sender))?;
    Ok(Census { changes, cost, waker: Waker(wake), raced })
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
    /// The warnings as they were told last.
    warned: Vec<String>,
    /// The inferred time-outs as they were told last.
    inferred: Vec<(Netns, u16, IdleLimit)>,
    raced: Raced,
    idle: IdleWatch,
    /// Where the servers are whose connections are watched.
    raced_places: Vec<Place>,
    /// What the last look took of a CPU.
    last_took: Duration,
    /// How long until it looks unasked.
    pause: Duration,
    /// Something was happening when it rested.
    stirred: bool,
    cost: domain::Census,
}

fn run(
    settings: Settings,
    who: Numbering,
    raced: Raced,
    spent: &Cost,
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
        warned: Vec::new(),
        inferred: Vec::new(),
        raced,
        idle: IdleWatch::default(),
        raced_places: Vec::new(),
        last_took: Duration::ZERO,
        pause: PERIOD,
        stirred: false,
        who,
        cost: domain::Census::default(),
    };
    loop {
        let Look { changes: found, news, expecting } = keeper.look();
        if news && changes.blocking_send(found).is_err() {
            return;
        }
        // Only now: a picture that counts a look shows what it found.
        spent.set(keeper.cost);
        let stirred = std::mem::take(&mut keeper.stirred);
        keeper.pause = pause(keeper.pause, news || expecting || stirred || !settings.told);
        if !keeper.rest(woken, expecting) {
            return;
        }
    }
}

/// What a look came to.
struct Look {
    changes: Changes,
    /// There is something to tell.
    news: bool,
    /// There will be soon: who holds a new listener is being looked for.
    expecting: bool,
}

/// How long to wait after a look that followed a pause like this.
fn pause(before: Duration, lively: bool) -> Duration {
    if lively { PERIOD } else { (before * 2).min(QUIET) }
}

/// How much longer than it must a census waits that nobody asks, after a look that took so long: who holds a new listener
/// is to be known soon, however long looking takes.
fn unasked(pause: Duration, took: Duration, expecting: bool) -> Duration {
    if expecting { pause } else { pause.max(took * QUIET_SHARE) }
}

impl Keeper {
    /// Waits until the next look is due, or asked for; `false` when nobody is left who could ask.
    ///
    /// However many listeners there are, looking takes at most a tenth of one CPU while they come and go, and a twentieth while
    /// they do not. Where nothing happens it wakes once for each look. The connections of servers that are raced are looked at
    /// meanwhile: how long one was idle when its server closed it is known as exactly as it was seen often.
    fn rest(&mut self, woken: &mpsc::Receiver<Vec<ListenCall>>, expecting: bool) -> bool {
        let soonest = Instant::now() + REST.max(self.last_took * REST_SHARE);
        let latest_after = |pause| soonest + unasked(pause, self.last_took, expecting);
        let (mut latest, lively) = (latest_after(self.pause), latest_after(PERIOD));
        let (mut looked, mut raced_took, mut asked) = (Instant::now(), Duration::ZERO, false);
        loop {
            let now = Instant::now();
            let left = if asked { soonest } else { latest }.saturating_duration_since(now);
            if left.is_zero() {
                woken.try_iter().for_each(|calls| self.calls.hear(calls));
                return true;
            }
            let raced = looked + PERIOD.max(raced_took * REST_SHARE);
            if self.idle.is_watching() && raced <= now {
                raced_took = self.look_at_raced();
                looked = Instant::now();
                continue;
            }
            let wait = if self.idle.is_watching() { left.min(raced.duration_since(now)) } else { left };
            // What it is asked until the soonest look is heard then: a storm of calls wakes it once.
            if asked {
                thread::sleep(wait);
                continue;
            }
            match woken.recv_timeout(wait) {
                Ok(calls) if calls.is_empty() => {
                    self.stirred = true;
                    latest = lively;
                }
                Ok(calls) => {
                    self.calls.hear(calls);
                    asked = true;
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return false,
            }
        }
    }

    /// Looks at the connections of raced servers, and at nothing else. Returns the CPU time of that.
    fn look_at_raced(&mut self) -> Duration {
        let work = CpuTime::begin();
        for place in &self.raced_places {
            if self.visitor.goes_to(place) {
                self.idle.look(place.netns, clock::now());
            }
        }
        self.visitor.go_home();
        work.used()
    }

    /// Looks at every namespace, and then for whoever holds what was found there.
    fn look(&mut self) -> Look {
        let (mut changes, start, work) = (Changes::default(), Instant::now(), CpuTime::begin());
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
        let wanted = || seen().map(|seen| seen.inode).collect();
        let expecting = self.owners.as_mut().is_some_and(|owners| {
            let sought = owners.refresh(&wanted(), Instant::now());
            sought || owners.follows_up()
        });
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
        self.last_took = work.used();
        self.cost.took += start.elapsed();
        self.cost.owners = self.owners.as_ref().map(Owners::cost).unwrap_or_default();
        let limits = self.idle.limits();
        if limits != self.inferred {
            changes.idle_limits.clone_from(&limits);
            self.inferred = limits;
        }
        let news = changes.tell_anything() || changes.warnings != self.warned;
        self.warned.clone_from(&changes.warnings);
        Look { changes, news, expecting }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_nothing_changes_it_looks_ever_more_rarely_and_after_a_change_often_again() {
        let quiet: Vec<_> =
            std::iter::successors(Some(PERIOD), |last| Some(pause(*last, false))).take(4).collect();
        assert_eq!(quiet, [PERIOD, 2 * PERIOD, QUIET, QUIET]);
        assert_eq!(pause(QUIET, true), PERIOD);
    }

    #[test]
    fn a_slow_look_is_followed_by_a_long_pause_but_not_where_an_owner_is_to_be_found() {
        let slow = Duration::from_secs(1);
        assert_eq!(unasked(PERIOD, slow, false), Duration::from_secs(20));
        assert_eq!(unasked(PERIOD, slow, true), PERIOD);
        assert_eq!(unasked(QUIET, Duration::from_millis(1), false), QUIET);
    }

    #[test]
    fn it_is_woken_for_servers_it_does_not_watch_yet_and_for_no_others() {
        let (wake, woken) = mpsc::sync_channel(PENDING);
        let (waker, raced) = (Waker(wake), Raced::default());
        let server = |port| (Netns::at_attach(1), port);
        waker.watch(&raced, BTreeSet::new());
        assert!(woken.try_recv().is_err());
        waker.watch(&raced, [server(80), server(81)].into());
        assert!(woken.try_recv().is_ok());
        waker.watch(&raced, [server(81)].into());
        assert!(woken.try_recv().is_err());
    }
}
