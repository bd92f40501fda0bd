//! Which processes hold which listening sockets. One pass over /proc finds them; in between, those known are only asked
//! whether they are still there.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    io,
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

use super::{
    privilege,
    process::{self, Process},
};
use crate::clock::CpuTime;
use netqueue_domain::{Known, Owner, OwnerSearch, SocketInode, Unknown};

/// At least this often all processes are looked at: who got a descriptor since is found.
const PERIOD: Duration = Duration::from_secs(30);
/// After a new socket was found, those who get it from its first holder are looked for at these times.
const FOLLOW_UPS: [Duration; 3] = [Duration::from_secs(1), Duration::from_secs(4), Duration::from_secs(12)];
/// A pass is made no sooner than so many times its own length after the last: at most a tenth of one CPU.
const SHARE: u32 = 10;
/// So many owners of one socket are kept, the oldest.
const MOST: usize = 256;

/// The owners of the sockets that are asked for.
#[derive(Debug)]
pub(super) struct Owners {
    proc: PathBuf,
    processes: HashMap<Process, Arc<Owner>>,
    holders: BTreeMap<SocketInode, BTreeSet<Process>>,
    known: HashMap<SocketInode, Known<Arc<[Owner]>>>,
    last: Option<Instant>,
    follow_ups: Vec<Instant>,
    last_took: Duration,
    cost: OwnerSearch,
}

impl Owners {
    /// Nobody known yet; processes are looked for below `proc`.
    pub(super) fn new(proc: impl Into<PathBuf>) -> Self {
        Self {
            proc: proc.into(),
            processes: HashMap::new(),
            holders: BTreeMap::new(),
            known: HashMap::new(),
            last: None,
            follow_ups: Vec::new(),
            last_took: Duration::ZERO,
            cost: OwnerSearch::default(),
        }
    }

    /// What it has cost so far.
    pub(super) const fn cost(&self) -> OwnerSearch {
        self.cost
    }

    /// Who holds a socket.
    pub(super) fn of(&self, socket: SocketInode) -> Known<Arc<[Owner]>> {
        self.known.get(&socket).cloned().unwrap_or(Err(Unknown::NotYet))
    }

    /// Brings everything up to date for `wanted`. Returns whether there is still somebody to be looked for, soon.
    pub(super) fn refresh(&mut self, wanted: &HashSet<SocketInode>, now: Instant) -> bool {
        let someone_ended = self.ask_the_known();
        let new = wanted.iter().any(|socket| !self.known.contains_key(socket));
        let due = self.last.is_none_or(|last| now.duration_since(last) >= PERIOD);
        let rested = self.last.is_none_or(|last| now.duration_since(last) >= self.last_took * SHARE);
        let follow_up = self.follow_ups.iter().any(|at| *at <= now);
        let asked_for = !wanted.is_empty() && (new || someone_ended || due || follow_up);
        if asked_for && rested {
            self.follow_ups.retain(|at| *at > now);
            if new {
                self.follow_ups = FOLLOW_UPS.map(|after| now + after).into();
            }
            let work = CpuTime::begin();
            self.pass(wanted);
            (self.last, self.last_took) = (Some(now), work.used());
            self.cost.took += now.elapsed();
        }
        self.forget_others(wanted);
        self.conclude(wanted);
        asked_for && !rested
    }

    /// Whether there are sockets so new that others may get them from their first holder.
    pub(super) const fn follows_up(&self) -> bool {
        !self.follow_ups.is_empty()
    }

    /// Asks the owners known whether they are still there, and what they are called: a program started by another is
    /// first called as that one was.
    fn ask_the_known(&mut self) -> bool {
        let mut ended = HashSet::new();
        for (process, owner) in &mut self.processes {
            match process.lives(&self.proc).then(|| process.comm(&self.proc)) {
                Some(Ok(comm)) if comm != owner.comm => match process.describe(&self.proc) {
                    Ok(now) => *owner = Arc::new(now),
                    Err(_) => drop(ended.insert(*process)),
                },
                Some(Ok(_)) => {}
                Some(Err(_)) | None => drop(ended.insert(*process)),
            }
        }
        self.processes.retain(|process, _| !ended.contains(process));
        for holders in self.holders.values_mut() {
            holders.retain(|process| !ended.contains(process));
        }
        !ended.is_empty()
    }

    fn pass(&mut self, wanted: &HashSet<SocketInode>) {
        let mut holders: BTreeMap<SocketInode, BTreeSet<Process>> = BTreeMap::new();
        let mut found = HashMap::new();
        (self.cost.processes, self.cost.descriptors, self.cost.denied) = (0, 0, 0);
        for pid in process::numbers(&self.proc) {
            let Ok(process) = Process::of(&self.proc, pid) else { continue };
            self.cost.processes += 1;
            let mut held = Vec::new();
            let looked = process.sockets(&self.proc, |socket| held.extend(wanted.get(&socket)));
            match looked {
                Ok(descriptors) => self.cost.descriptors += descriptors,
                Err(error) if error.kind() == io::ErrorKind::PermissionDenied => self.cost.denied += 1,
                Err(_) => {}
            }
            if held.is_empty() {
                continue;
            }
            let known = self.processes.get(&process).cloned();
            // One that ended meanwhile holds nothing any more.
            let Some(owner) = known.or_else(|| process.describe(&self.proc).ok().map(Arc::new)) else {
                continue;
            };
            found.insert(process, owner);
            for socket in held {
                holders.entry(socket).or_default().insert(process);
            }
        }
        (self.holders, self.processes) = (holders, found);
        self.cost.passes += 1;
        // Of each that was looked for something is known now, if only that nobody was found.
        for socket in wanted {
            self.known.entry(*socket).or_insert(Err(Unknown::NotYet));
        }
    }

    fn forget_others(&mut self, wanted: &HashSet<SocketInode>) {
        self.holders.retain(|socket, _| wanted.contains(socket));
        self.known.retain(|socket, _| wanted.contains(socket));
    }

    fn conclude(&mut self, wanted: &HashSet<SocketInode>) {
        let nobody =
            if self.cost.denied > 0 { privilege::missing_to_look_at_processes() } else { Unknown::Nobody };
        let mut same: HashMap<Vec<Process>, Arc<[Owner]>> = HashMap::new();
        for socket in wanted {
            let Some(known) = self.known.get_mut(socket) else { continue };
            let holders = self.holders.get(socket).filter(|holders| !holders.is_empty());
            let Some(holders) = holders else {
                *known = Err(nobody);
                continue;
            };
            let holders: Vec<Process> = holders.iter().copied().take(MOST).collect();
            let owners = same.entry(holders).or_insert_with_key(|holders| {
                let owners = holders.iter().filter_map(|process| self.processes.get(process));
                let mut owners: Vec<Owner> = owners.map(|owner| (**owner).clone()).collect();
                owners.sort_by_key(opens_for_others);
                owners.into()
            });
            // The same as before stays the same in memory too.
            match known {
                Ok(before) if before == owners => {}
                Ok(_) | Err(_) => *known = Ok(Arc::clone(owners)),
            }
        }
    }
}

/// Whether this is a service manager, which opens sockets for the services it starts: the listener is named after those,
/// as soon as one holds it too.
fn opens_for_others(owner: &Owner) -> bool {
    owner.pid == 1 || &*owner.comm == "systemd"
}

#[cfg(test)]
#[path = "owners_tests.rs"]
mod tests;
