//! Looks for network namespaces: those a process or a thread is in, and those that have a name.

use std::{
    collections::{BTreeMap, HashSet},
    fs, io,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use super::{container, member::Member, netns};
use crate::domain::Netns;

/// Where to look.
#[derive(Clone, Debug)]
pub struct Roots {
    /// Like /proc.
    pub proc: PathBuf,
    /// Directories of files bound to namespaces, like /run/netns.
    pub names: Vec<PathBuf>,
}

impl Default for Roots {
    fn default() -> Self {
        Self { proc: "/proc".into(), names: vec!["/run/netns".into(), "/run/docker/netns".into()] }
    }
}

/// How thoroughly to look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Depth {
    /// At processes.
    Processes,
    /// At every thread: one may have moved to a namespace that nothing else is in.
    Threads,
}

/// What was found.
#[derive(Debug)]
pub struct Search {
    /// The namespaces.
    pub found: BTreeMap<Netns, Found>,
    /// How thoroughly it was looked.
    pub depth: Depth,
    /// Processes looked at.
    pub processes: u64,
    /// Threads looked at besides.
    pub threads: u64,
    /// Processes and threads that may not be looked at.
    pub denied: u64,
    /// How long it took.
    pub took: Duration,
}

/// A namespace that was found.
#[derive(Debug, Default)]
pub struct Found {
    /// Its name, where it has one that nothing else has.
    pub name: Option<Arc<str>>,
    /// A file bound to it.
    pub(super) file: Option<PathBuf>,
    /// Some of the threads in it.
    pub(super) members: Vec<Member>,
    /// The first process seen in it.
    process: Option<u32>,
}

/// So many threads of a namespace are remembered: when one ends, the next is at hand.
const MEMBERS: usize = 3;

/// Names no namespace may have as its label: they mean something else.
const RESERVED: [&str; 2] = ["host", "gone"];

/// Looks for namespaces.
#[must_use]
pub fn search(roots: &Roots, depth: Depth) -> Search {
    let start = Instant::now();
    let mut search =
        Search { found: BTreeMap::new(), depth, processes: 0, threads: 0, denied: 0, took: Duration::ZERO };
    for pid in numbers(&roots.proc) {
        search.process(&roots.proc, pid);
    }
    search.name(roots);
    search.took = start.elapsed();
    search
}

impl Search {
    fn process(&mut self, proc: &Path, pid: u32) {
        self.processes += 1;
        let directory = proc.join(pid.to_string());
        let own = netns::of_task(&directory);
        match &own {
            Ok(netns) => self.member(proc, *netns, pid, pid),
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                self.denied += 1;
                return;
            }
            // Its first thread may have ended before the others.
            Err(_) => {}
        }
        let tasks = directory.join("task");
        if self.depth == Depth::Processes || has_one_entry(&tasks) {
            return;
        }
        for tid in numbers(&tasks).into_iter().filter(|tid| *tid != pid) {
            self.threads += 1;
            match netns::of_task(&tasks.join(tid.to_string())) {
                Ok(netns) if own.as_ref().is_ok_and(|own| *own == netns) => {}
                Ok(netns) => self.member(proc, netns, pid, tid),
                Err(error) => self.denied += u64::from(error.kind() == io::ErrorKind::PermissionDenied),
            }
        }
    }

    fn member(&mut self, proc: &Path, netns: Netns, pid: u32, tid: u32) {
        let found = self.found.entry(netns).or_default();
        found.process.get_or_insert(pid);
        if found.members.len() < MEMBERS {
            found.members.extend(Member::of(proc, pid, tid));
        }
    }

    /// Gives names: that of a file, else that of a container; each to one namespace only.
    fn name(&mut self, roots: &Roots) {
        let mut taken: HashSet<Arc<str>> = RESERVED.into_iter().map(Arc::from).collect();
        let mut give = |found: &mut Found, name: String| {
            let name: Arc<str> = name.into();
            // A number would look like another namespace's inode.
            let usable = found.name.is_none() && !name.bytes().all(|byte| byte.is_ascii_digit());
            if usable && taken.insert(Arc::clone(&name)) {
                found.name = Some(name);
            }
        };
        let named = netns::device(&roots.proc).map(|device| netns::named(&roots.names, device));
        for (netns, name, file) in named.unwrap_or_default() {
            let found = self.found.entry(netns).or_default();
            found.file.get_or_insert(file);
            give(found, name);
        }
        // The oldest process first: a container's own namespace rather than one made inside it.
        let mut unnamed: Vec<_> = self.found.values_mut().filter(|found| found.name.is_none()).collect();
        unnamed.sort_by_key(|found| found.process);
        for found in unnamed {
            let container = found.process.and_then(|pid| container::of_process(&roots.proc, pid));
            container.into_iter().for_each(|id| give(found, id));
        }
    }
}

/// The entries that are numbers, in ascending order. A directory that is gone has none.
fn numbers(directory: &Path) -> Vec<u32> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    let mut numbers: Vec<u32> =
        entries.filter_map(|entry| entry.file_name().to_str().and_then(|name| name.parse().ok())).collect();
    numbers.sort_unstable();
    numbers
}

/// Whether a directory says that it has one subdirectory. A process's says how many threads it has.
fn has_one_entry(directory: &Path) -> bool {
    fs::metadata(directory).is_ok_and(|directory| directory.nlink() == 3)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inventory::tree::Tree;

    const HOST: Netns = Netns(4_026_531_840);
    const POD: Netns = Netns(4_026_532_201);

    fn name(search: &Search, netns: Netns) -> Option<&str> {
        search.found.get(&netns).and_then(|found| found.name.as_deref())
    }

    #[test]
    fn processes_threads_and_names_lead_to_namespaces() {
        let tree = Tree::new();
        tree.process(1, HOST);
        tree.thread(70, 70, HOST);
        tree.thread(70, 71, POD);
        let blue = tree.name("blue");
        let found = search(&tree.roots(), Depth::Threads);
        assert_eq!((found.processes, found.threads, found.denied), (2, 1, 0));
        assert_eq!(found.found.len(), 3);
        assert_eq!(name(&found, blue), Some("blue"));
        let shallow = search(&tree.roots(), Depth::Processes);
        assert!(!shallow.found.contains_key(&POD) && shallow.found.contains_key(&blue));
    }

    #[test]
    fn a_container_names_the_namespace_of_its_first_process_only() {
        let tree = Tree::new();
        let cgroup = format!("0::/system.slice/docker-{}.scope\n", "0123456789abcdef".repeat(4));
        for (pid, netns) in [(80, POD), (81, Netns(5)), (79, Netns(6))] {
            tree.process(pid, netns);
            tree.cgroup(pid, if pid == 79 { "0::/\n" } else { &cgroup });
        }
        let found = search(&tree.roots(), Depth::Processes);
        assert_eq!(name(&found, POD), Some("0123456789ab"));
        assert_eq!((name(&found, Netns(5)), name(&found, Netns(6))), (None, None));
    }

    #[test]
    fn a_name_that_means_something_else_is_not_taken() {
        let tree = Tree::new();
        for odd in ["host", "gone", "4026531840"] {
            let netns = tree.name(odd);
            let found = search(&tree.roots(), Depth::Processes);
            assert!(found.found.contains_key(&netns));
            assert_eq!(name(&found, netns), None, "{odd}");
        }
    }

    #[test]
    fn a_file_left_behind_is_no_namespace() {
        let roots = Roots { names: vec![std::env::temp_dir()], ..Roots::default() };
        let file = tempfile::NamedTempFile::new().expect("a file");
        let inode = file.as_file().metadata().expect("it is there").ino();
        let found = search(&roots, Depth::Processes);
        assert!(!found.found.keys().any(|netns| u64::from(netns.0) == inode));
    }

    #[test]
    fn this_process_is_found_on_this_machine() {
        let found = search(&Roots::default(), Depth::Threads);
        let own = netns::of_task(Path::new("/proc/self")).expect("its own");
        assert!(found.found.get(&own).is_some_and(|own| !own.members.is_empty()));
    }
}
