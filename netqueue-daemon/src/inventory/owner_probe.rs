//! Examination of the processes that should accept, while connections wait for accept().
//!
//! Cost: at most [`MOST`] processes every [`PERIOD`], the fullest queues first, and none where no queue waits.
//! Of each process four files are read and its descriptors counted, which kernels since 6.2 do in one call; of
//! each listener about eight files of a cgroup.

use std::{
    collections::{HashMap, HashSet},
    fs,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use netqueue_domain::{
    Activity, CgroupInfo, CgroupState, Known, OomKills, Owner, OwnerState, ProcessState, QueueState,
    SocketInode, Throttling, Timestamp, owner_state::text,
};

use super::{
    cgroup,
    cgroup_files::{CgroupFiles, Reading},
};

/// Shortest interval of examinations.
const PERIOD: Duration = Duration::from_secs(2);
/// Largest number of processes in one examination.
const MOST: usize = 16;
/// Largest number of processes of one listener, so that a server with many leaves room for others.
const MOST_OF_ONE: usize = 8;
/// Largest number of threads of a process that are read.
const THREADS: usize = 32;
/// Largest number of descriptors that are counted one by one, on kernels before 6.2.
const DESCRIPTORS: usize = 16_384;
/// Age up to which a reading is compared with the next.
const COMPARABLE: Duration = Duration::from_secs(30);

/// Examination of owners, and what the next one is compared with.
#[derive(Debug)]
pub(super) struct OwnerProbe {
    proc: PathBuf,
    cgroups: CgroupFiles,
    /// True if the size of a directory of descriptors is their number.
    /// Kernels before 6.2 report 0 (fs/proc/fd.c `proc_fd_getattr`).
    sized: bool,
    last: Option<Instant>,
    /// Sockets whose accept queues were not empty at the last scan.
    waited: HashSet<SocketInode>,
    /// Activity of each process, and the start of the examinations that found it.
    activities: HashMap<u32, (u64, Activity, Timestamp)>,
    readings: HashMap<PathBuf, Baseline>,
}

/// Cgroup at its last examination.
#[derive(Clone, Debug)]
struct Baseline {
    read: Instant,
    throttling: Option<Throttling>,
    oom_kills: Option<u64>,
    state: CgroupState,
}

impl OwnerProbe {
    /// Reads processes below `proc`, and cgroups below `cgroups`.
    pub(super) fn new(proc: impl Into<PathBuf>, cgroups: impl Into<PathBuf>) -> Self {
        let proc = proc.into();
        Self {
            cgroups: CgroupFiles::new(&proc, cgroups),
            sized: fs::metadata(proc.join("self/fd")).is_ok_and(|directory| directory.len() > 0),
            proc,
            last: None,
            waited: HashSet::new(),
            activities: HashMap::new(),
            readings: HashMap::new(),
        }
    }

    /// Examines the owners of accept queues that are full, or not empty for the second time in a row.
    pub(super) fn examine(
        &mut self,
        queues: &HashMap<SocketInode, QueueState>,
        owners: &impl Fn(SocketInode) -> Known<Arc<[Owner]>>,
        (now, at): (Instant, Timestamp),
    ) -> Vec<(SocketInode, Arc<OwnerState>)> {
        let is_full = |queue: &QueueState| queue.length > queue.limit;
        let waiting = || queues.iter().filter(|(_, queue)| queue.length > 0);
        let due = waiting().filter(|(inode, queue)| is_full(queue) || self.waited.contains(inode));
        let mut due: Vec<_> = due.map(|(inode, queue)| (*inode, *queue)).collect();
        self.waited = waiting().map(|(inode, _)| *inode).collect();
        if due.is_empty() || self.last.is_some_and(|last| now.duration_since(last) < PERIOD) {
            return Vec::new();
        }
        self.last = Some(now);
        due.sort_unstable_by_key(|(inode, queue)| {
            (std::cmp::Reverse((is_full(queue), queue.length)), *inode)
        });
        let mut examined: HashMap<u32, ProcessState> = HashMap::new();
        let mut states = Vec::new();
        for (inode, _) in due {
            let Ok(owners) = owners(inode) else { continue };
            let living: Vec<&Owner> = owners.iter().filter(|owner| !owner.ended).collect();
            let mut processes = Vec::new();
            for owner in living.iter().take(MOST_OF_ONE) {
                if !examined.contains_key(&owner.pid) && examined.len() < MOST {
                    examined.extend(self.process(owner, at).map(|process| (owner.pid, process)));
                }
                processes.extend(examined.get(&owner.pid).cloned());
            }
            let (Some(first), false) = (living.first(), processes.is_empty()) else { continue };
            states.push((
                inode,
                Arc::new(OwnerState {
                    at,
                    sharing: u32::try_from(living.len()).unwrap_or(u32::MAX),
                    processes,
                    place: self.place(first.pid),
                    cgroup: self.cgroup(first.pid, (now, at)),
                }),
            ));
        }
        self.activities.retain(|pid, _| examined.contains_key(pid));
        self.readings.retain(|_, baseline| now.duration_since(baseline.read) <= COMPARABLE);
        states
    }

    /// Examines one process; `None` if it has ended.
    fn process(&mut self, owner: &Owner, at: Timestamp) -> Option<ProcessState> {
        let directory = self.proc.join(owner.pid.to_string());
        let read = |file: &str| fs::read_to_string(directory.join(file)).ok();
        let status = text::status(&read("status")?);
        let activity = status.activity?;
        let known = self.activities.get(&owner.pid);
        let known = known.filter(|(started, before, _)| *started == owner.started && *before == activity);
        let since = known.map_or(at, |(_, _, since)| *since);
        self.activities.insert(owner.pid, (owner.started, activity, since));
        Some(ProcessState {
            pid: owner.pid,
            name: Arc::clone(&owner.comm),
            activity: Some(activity),
            since,
            stop_signal: (activity == Activity::Stopped).then(|| text::stop_signal(&read("stat")?)).flatten(),
            tracer: status.tracer,
            threads: status.threads,
            // A moment of uninterruptible sleep is ordinary.
            all_blocked: Some(activity == Activity::Blocked && since < at && are_blocked(&directory)),
            open_files: open_files(&directory.join("fd"), self.sized),
            file_limit: read("limits").and_then(|limits| text::file_limit(&limits)),
        })
    }

    /// Returns the cgroup that a process is in now; it may have moved since its owner was found.
    fn place(&self, pid: u32) -> Option<Arc<CgroupInfo>> {
        let lines = fs::read_to_string(self.proc.join(pid.to_string()).join("cgroup")).ok()?;
        cgroup::parse(&lines).map(Arc::new)
    }

    /// Examines the cgroup of a process.
    fn cgroup(&mut self, pid: u32, (now, at): (Instant, Timestamp)) -> CgroupState {
        let Some(reading) = self.cgroups.read(pid) else { return CgroupState::default() };
        let Reading { directory, quota, throttling, frozen, oom_kills, cpu_pressure } = reading;
        let before = self.readings.get(&directory);
        // Another listener of the same cgroup may have been examined just now.
        if let Some(same) = before.filter(|before| before.read == now) {
            return same.state.clone();
        }
        let change = before.and_then(|before| Throttling::between(before.throttling?, throttling?));
        let kills = before.and_then(|before| oom_kills?.checked_sub(before.oom_kills?)).unwrap_or(0);
        let earlier = before.and_then(|before| before.state.oom);
        let oom = match kills {
            0 => earlier,
            kills => Some(OomKills { kills: earlier.map_or(0, |oom| oom.kills) + kills, noticed: at }),
        };
        let state = CgroupState { quota, throttling: change, frozen, oom, cpu_pressure };
        self.readings.insert(directory, Baseline { read: now, throttling, oom_kills, state: state.clone() });
        state
    }
}

/// Returns whether all threads, or as many as are read, wait in uninterruptible sleep.
fn are_blocked(process: &Path) -> bool {
    let threads = fs::read_dir(process.join("task")).into_iter().flatten().flatten().take(THREADS);
    let mut states = threads.filter_map(|thread| fs::read_to_string(thread.path().join("stat")).ok());
    states.all(|stat| text::thread(&stat) == Some(Activity::Blocked))
}

/// Counts the open descriptors; `None` if they may not be seen, or are too many to count one by one.
fn open_files(directory: &Path, sized: bool) -> Option<u64> {
    if sized {
        return fs::metadata(directory).ok().map(|directory| directory.len());
    }
    let counted = fs::read_dir(directory).ok()?.take(DESCRIPTORS + 1).count();
    (counted <= DESCRIPTORS).then_some(counted as u64)
}

#[cfg(test)]
#[path = "owner_probe_tests.rs"]
mod tests;
