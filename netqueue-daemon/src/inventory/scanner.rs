//! Thread that scans for listeners: when notified of a change, and periodically.

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

use netqueue_domain::{
    self as domain, Changes, IdleLimit, LateData, ListenCall, Netns, QueueState, SocketInode, Unknown,
};
use tokio::sync::mpsc as channel;

use super::{
    idle::{IdleWatch, Raced},
    listen_calls::Calls,
    listener_table::{self, ListenerTable},
    netns::Numbering,
    netns_paths::NetnsPaths,
    netns_probe::{NetnsProbe, Place, VisitError},
    owner_probe::OwnerProbe,
    owners::Owners,
};
use crate::clock::{self, CpuTime};

/// Interval of scans without a notification while there is activity.
pub const PERIOD: Duration = Duration::from_millis(800);
/// Longest interval of scans.
/// In use if listen() calls are reported, and nothing changed or was charged for a while.
const QUIET: Duration = Duration::from_secs(3);
/// Shortest pause between two scans.
const REST: Duration = Duration::from_millis(100);
/// Pause after a scan as a multiple of its CPU time, even if the next scan is requested.
const REST_SHARE: u32 = 9;
/// Further pause, as a multiple too, if no scan is requested and no owner is looked for.
const QUIET_SHARE: u32 = 20;
/// Notifications that may wait; listen() calls in those beyond are missed.
const PENDING: usize = 256;

/// Settings of the scanner.
#[derive(Clone, Copy, Debug)]
pub struct ScannerSettings {
    /// True if the processes that own listeners are looked for.
    pub owners: bool,
    /// True if listen() calls are reported; otherwise only frequent scans find new listeners.
    pub told: bool,
}

/// Handle to notify the scanner.
#[derive(Clone, Debug)]
pub struct Waker(mpsc::SyncSender<Vec<ListenCall>>);

impl Waker {
    /// Requests a scan soon if there was any listen() call.
    /// Returns the number of calls that could not be passed on because too many wait: the arguments of their
    /// listeners are reported as missed.
    #[must_use]
    pub fn wake(&self, calls: Vec<ListenCall>) -> u64 {
        let number = calls.len() as u64;
        let told = number == 0 || self.0.try_send(calls).is_ok();
        if told { 0 } else { number }
    }

    /// Sets the servers whose connections are sampled, with new resets of such connections; requests an
    /// earlier scan if there are new servers.
    pub fn watch(&self, raced: &Raced, servers: BTreeSet<(Netns, u16)>, resets: Vec<LateData>) {
        if raced.set(servers, resets) {
            self.nudge();
        }
    }

    /// Ends a quiet phase: the next scan comes as soon as it would if there had been activity all along.
    pub fn nudge(&self) {
        // If the queue is full, a scan is about to start.
        let _heard = self.0.try_send(Vec::new());
    }
}

/// Cost of scanning so far.
/// Shared rather than sent, as most scans find no change and send nothing.
#[derive(Clone, Debug, Default)]
pub struct Cost(Arc<Mutex<domain::ScanCost>>);

impl Cost {
    /// Returns the cost as of the last scan whose changes were sent.
    #[must_use]
    pub fn now(&self) -> domain::ScanCost {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set(&self, cost: domain::ScanCost) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = cost;
    }
}

/// Handle of the scanner; dropping it ends the thread.
#[derive(Debug)]
pub struct ScannerHandle {
    /// Changes found by scans; a scan without a change sends nothing.
    pub changes: channel::Receiver<Changes>,
    /// Cost of scanning so far.
    pub cost: Cost,
    /// Handle to request scans.
    pub waker: Waker,
    /// Servers whose connections are sampled.
    pub raced: Raced,
}

/// Starts the thread.
///
/// # Errors
/// The system does not start a thread.
pub fn start(settings: ScannerSettings, who: Numbering) -> io::Result<ScannerHandle> {
    let (wake, woken) = mpsc::sync_channel(PENDING);
    let (sender, changes) = channel::channel(1);
    let (raced, cost) = (Raced::default(), Cost::default());
    let (watched, spent) = (raced.clone(), cost.clone());
    thread::Builder::new()
        .name("inventory".to_owned())
        .spawn(move || run(settings, who, watched, &spent, &woken, &sender))?;
    Ok(ScannerHandle { changes, cost, waker: Waker(wake), raced })
}

/// State of the scanner between scans.
struct Scanner {
    who: Numbering,
    visitor: NetnsProbe,
    places: NetnsPaths,
    book: ListenerTable,
    calls: Calls,
    /// Search for owners; `None` if it is switched off.
    owners: Option<Owners>,
    /// Examination of the owners on whose accept queues connections wait.
    owner_probe: OwnerProbe,
    /// Queue lengths as sent last.
    told: HashMap<SocketInode, QueueState>,
    /// Warnings as sent last.
    warned: Vec<String>,
    /// Inferred time-outs as sent last.
    inferred: Vec<(Netns, u16, IdleLimit)>,
    raced: Raced,
    idle: IdleWatch,
    /// Namespaces of the servers whose connections are sampled.
    raced_places: Vec<Place>,
    /// CPU time of the last scan.
    last_took: Duration,
    /// Pause until the next scan without a request.
    pause: Duration,
    /// True if there was activity during the pause.
    nudged: bool,
    cost: domain::ScanCost,
}

fn run(
    settings: ScannerSettings,
    who: Numbering,
    raced: Raced,
    spent: &Cost,
    woken: &mpsc::Receiver<Vec<ListenCall>>,
    changes: &channel::Sender<Changes>,
) {
    let mut scanner = Scanner {
        visitor: NetnsProbe::of_this_thread(Arc::clone(&who)),
        places: NetnsPaths::default(),
        book: ListenerTable::default(),
        calls: Calls::default(),
        owners: settings.owners.then(|| Owners::new("/proc")),
        owner_probe: OwnerProbe::new("/proc", "/sys/fs/cgroup"),
        told: HashMap::new(),
        warned: Vec::new(),
        inferred: Vec::new(),
        raced,
        idle: IdleWatch::default(),
        raced_places: Vec::new(),
        last_took: Duration::ZERO,
        pause: PERIOD,
        nudged: false,
        who,
        cost: domain::ScanCost::default(),
    };
    loop {
        let Scan { changes: found, news, expecting } = scanner.look();
        if news && changes.blocking_send(found).is_err() {
            return;
        }
        // Not before the changes are sent, so that a snapshot which counts a scan shows what it found.
        spent.set(scanner.cost);
        let nudged = std::mem::take(&mut scanner.nudged);
        scanner.pause = pause(scanner.pause, news || expecting || nudged || !settings.told);
        if !scanner.rest(woken, expecting) {
            return;
        }
    }
}

/// Result of a scan.
struct Scan {
    changes: Changes,
    /// True if there are changes to send.
    news: bool,
    /// True if there soon will be: the owner of a new listener is being looked for.
    expecting: bool,
}

/// Returns the pause after a scan, from the one before it.
fn pause(before: Duration, lively: bool) -> Duration {
    if lively { PERIOD } else { (before * 2).min(QUIET) }
}

/// Returns how much longer than the shortest pause to wait without a request.
/// Owners of new listeners are to be found soon, however long a scan takes.
fn unasked(pause: Duration, took: Duration, expecting: bool) -> Duration {
    if expecting { pause } else { pause.max(took * QUIET_SHARE) }
}

impl Scanner {
    /// Waits until the next scan is due or requested; `false` if all handles are gone.
    ///
    /// However many listeners there are, scans take at most a tenth of one CPU while listeners come and go,
    /// and a twentieth while they do not. Without activity the thread wakes once for each scan. Meanwhile it
    /// samples the connections of watched servers: the more samples, the more exact is the idle time of a
    /// connection when its server closed it.
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
            // Requests until then are handled by that scan: a storm of calls wakes the thread once.
            if asked {
                thread::sleep(wait);
                continue;
            }
            match woken.recv_timeout(wait) {
                Ok(calls) if calls.is_empty() => {
                    self.nudged = true;
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

    /// Samples the connections of watched servers only. Returns the CPU time of that.
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

    /// Scans every namespace, and then looks for the owners of the sockets found.
    fn look(&mut self) -> Scan {
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
        for netns in listener_table::vanished(&self.book, &found) {
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
        changes.owner_states = self.owner_probe.examine(&self.told, &of, (start, now));
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
        Scan { changes, news, expecting }
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
        waker.watch(&raced, BTreeSet::new(), Vec::new());
        assert!(woken.try_recv().is_err());
        waker.watch(&raced, [server(80), server(81)].into(), Vec::new());
        assert!(woken.try_recv().is_ok());
        waker.watch(&raced, [server(81)].into(), Vec::new());
        assert!(woken.try_recv().is_err());
    }
}
