//! Processes that own listening sockets.
//!
//! A pass over /proc finds them; between passes, those found are only checked for whether they still exist.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    io,
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

use netqueue_domain::{Known, Owner, OwnerSearch, SocketInode, Unknown};

use super::{
    privilege,
    process::{self, Process},
};
use crate::clock::CpuTime;

/// Longest interval between passes, which find processes that received a descriptor since.
const PERIOD: Duration = Duration::from_secs(30);
/// Passes after a new socket was found, for processes that receive it from its first owner.
const FOLLOW_UPS: [Duration; 3] = [Duration::from_secs(1), Duration::from_secs(4), Duration::from_secs(12)];
/// Factor of the pause after a pass, which so takes at most a tenth of one CPU.
const SHARE: u32 = 10;
/// Largest number of owners kept per socket, the oldest ones.
const MOST: usize = 256;

/// Owners of the sockets of interest.
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
    /// Starts without any owner; processes are looked for below `proc`.
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

    /// Returns the cost so far.
    pub(super) const fn cost(&self) -> OwnerSearch {
        self.cost
    }

    /// Returns the owners of a socket.
    pub(super) fn of(&self, socket: SocketInode) -> Known<Arc<[Owner]>> {
        self.known.get(&socket).cloned().unwrap_or(Err(Unknown::NotYet))
    }

    /// Updates the owners of the sockets in `wanted`. Returns whether a pass is due that has to wait.
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

    /// Returns whether there are sockets so new that further processes may still receive them.
    pub(super) const fn follows_up(&self) -> bool {
        !self.follow_ups.is_empty()
    }

    /// Checks whether the owners found still exist and have the same name; returns whether any ended.
    /// A program started by another first has that one's name.
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
            // A process that ended meanwhile owns nothing any more.
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
        // After a pass there is a result for each socket, if only that no owner was found.
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
            // Unchanged owners stay the same allocation, so that equality is cheap and memory is shared.
            match known {
                Ok(before) if before == owners => {}
                Ok(_) | Err(_) => *known = Ok(Arc::clone(owners)),
            }
        }
    }
}

/// Returns whether a process is a service manager, which opens sockets for the services it starts.
/// The listener gets the name of the service as soon as that has the socket too.
fn opens_for_others(owner: &Owner) -> bool {
    owner.pid == 1 || &*owner.comm == "systemd"
}

#[cfg(test)]
#[path = "owners_tests.rs"]
mod tests;
