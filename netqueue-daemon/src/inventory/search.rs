//! Search for network namespaces: those that a process or a thread is in, and those bound to a file.

use std::{
    collections::{BTreeMap, HashSet},
    fs, io,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use netqueue_domain::Netns;

use super::{
    container,
    member::Member,
    mounts::{self, Bound},
    netns::{self, WhoHas},
};
use crate::clock::CpuTime;

/// Thoroughness of a search.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Depth {
    /// Examine processes.
    Processes,
    /// Examine every thread: one may be the only member of its namespace.
    Threads,
}

/// Result of a search.
#[derive(Debug)]
pub struct Search {
    /// Namespaces found.
    pub found: BTreeMap<Netns, Found>,
    /// Thoroughness of the search.
    pub depth: Depth,
    /// Processes examined.
    pub processes: u64,
    /// Threads examined in addition.
    pub threads: u64,
    /// Processes and threads that may not be examined.
    pub denied: u64,
    /// CPU time of the search.
    pub took: Duration,
}

/// Namespace that was found.
#[derive(Debug, Default)]
pub struct Found {
    /// Name, if it has one that no other namespace has.
    pub name: Option<Arc<str>>,
    /// File bound to it.
    pub(super) file: Option<PathBuf>,
    /// Some of the threads in it.
    pub(super) members: Vec<Member>,
    /// First process found in it.
    process: Option<u32>,
}

/// Largest number of threads kept per namespace: when one ends, another is at hand.
const MEMBERS: usize = 3;

/// Names that no namespace gets as its label, because they have another meaning there.
const RESERVED: [&str; 2] = ["host", "gone"];

/// Searches for namespaces.
#[must_use]
pub fn search(proc: &Path, depth: Depth, who: WhoHas<'_>) -> Search {
    let work = CpuTime::begin();
    let mut search =
        Search { found: BTreeMap::new(), depth, processes: 0, threads: 0, denied: 0, took: Duration::ZERO };
    for pid in numbers(proc) {
        search.process(proc, pid, who);
    }
    search.name(proc, who);
    search.took = work.used();
    search
}

impl Search {
    fn process(&mut self, proc: &Path, pid: u32, who: WhoHas<'_>) {
        self.processes += 1;
        let directory = proc.join(pid.to_string());
        let own = netns::of_task(&directory);
        match &own {
            Ok(_) => self.member(proc, Member { process: pid, thread: pid }, who),
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                self.denied += 1;
                return;
            }
            // The first thread of a process may have ended before the others.
            Err(_) => {}
        }
        let tasks = directory.join("task");
        if self.depth == Depth::Processes || has_one_entry(&tasks) {
            return;
        }
        for tid in numbers(&tasks).into_iter().filter(|tid| *tid != pid) {
            self.threads += 1;
            match netns::of_task(&tasks.join(tid.to_string())) {
                Ok(inode) if own.as_ref().is_ok_and(|own| *own == inode) => {}
                Ok(_) => self.member(proc, Member { process: pid, thread: tid }, who),
                Err(error) => self.denied += u64::from(error.kind() == io::ErrorKind::PermissionDenied),
            }
        }
    }

    fn member(&mut self, proc: &Path, member: Member, who: WhoHas<'_>) {
        // One that moves or ends meanwhile is found in its new place by the next search.
        let Some(netns) = netns::identify(who, || member.inode(proc)) else { return };
        let found = self.found.entry(netns).or_default();
        found.process.get_or_insert(member.process);
        if found.members.len() < MEMBERS {
            found.members.push(member);
        }
    }

    /// Assigns names: that of a bound file, else that of a container, each to one namespace only.
    fn name(&mut self, proc: &Path, who: WhoHas<'_>) {
        let mut taken: HashSet<Arc<str>> = RESERVED.into_iter().map(Arc::from).collect();
        let mut give = |found: &mut Found, name: &str| {
            // A number would look like the inode number of another namespace.
            let usable = found.name.is_none() && !name.is_empty() && !name.bytes().all(is_of_a_number);
            let name: Arc<str> = name.into();
            if usable && taken.insert(Arc::clone(&name)) {
                found.name = Some(name);
            }
        };
        let (root, bound) = mounts::bound(proc);
        for BoundTo { path, netns, name } in bound.iter().filter_map(|bound| identified(&root, bound, who)) {
            let found = self.found.entry(netns).or_default();
            found.file.get_or_insert(path);
            name.into_iter().for_each(|name| give(found, name));
        }
        // The oldest process first: its container is the namespace's own rather than one made inside it.
        let mut unnamed: Vec<_> = self.found.values_mut().filter(|found| found.name.is_none()).collect();
        unnamed.sort_by_key(|found| found.process);
        for found in unnamed {
            let container = found.process.and_then(|pid| container::of_process(proc, pid));
            container.into_iter().for_each(|id| give(found, &id));
        }
    }
}

/// Bound file, and its namespace.
struct BoundTo<'a> {
    path: PathBuf,
    netns: Netns,
    name: Option<&'a str>,
}

fn identified<'a>(root: &Path, bound: &'a Bound, who: WhoHas<'_>) -> Option<BoundTo<'a>> {
    let path = root.join(bound.path.strip_prefix("/").unwrap_or(&bound.path));
    // The mount table is a moment old, so the file decides; if it may not be read, the table must do.
    let inode = || match fs::metadata(&path) {
        Ok(file) => netns::of_file(&file),
        Err(_) => Some(bound.inode),
    };
    let netns = netns::identify(who, inode).filter(|netns| netns.inode == bound.inode)?;
    Some(BoundTo { netns, name: bound.name(), path })
}

/// Returns whether the byte may be part of a number: a digit, or the point before a generation.
const fn is_of_a_number(byte: u8) -> bool {
    byte.is_ascii_digit() || byte == b'.'
}

/// Returns the entries that are numbers, ascending; none if the directory is gone.
fn numbers(directory: &Path) -> Vec<u32> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    let mut numbers: Vec<u32> =
        entries.filter_map(|entry| entry.file_name().to_str().and_then(|name| name.parse().ok())).collect();
    numbers.sort_unstable();
    numbers
}

/// Returns whether a directory has one subdirectory, by its link count.
/// For a process's task directory, that is whether it has a single thread.
fn has_one_entry(directory: &Path) -> bool {
    fs::metadata(directory).is_ok_and(|directory| directory.nlink() == 3)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inventory::tree::Tree;

    const HOST: u32 = 4_026_531_840;
    const POD: u32 = 4_026_532_201;

    /// Makes every namespace the third with its inode number.
    const fn third(inode: u32) -> Netns {
        Netns { inode, generation: 3 }
    }

    fn look(tree: &Tree, depth: Depth) -> Search {
        search(tree.proc(), depth, &third)
    }

    fn name(search: &Search, inode: u32) -> Option<&str> {
        search.found.get(&third(inode)).and_then(|found| found.name.as_deref())
    }

    #[test]
    fn processes_threads_and_names_lead_to_namespaces() {
        let tree = Tree::new();
        tree.process(1, HOST);
        tree.thread(70, 70, HOST);
        tree.thread(70, 71, POD);
        tree.name("blue", 9);
        let found = look(&tree, Depth::Threads);
        assert_eq!((found.processes, found.threads, found.denied), (2, 1, 0));
        assert_eq!(found.found.len(), 3);
        assert_eq!(name(&found, 9), Some("blue"));
        let shallow = look(&tree, Depth::Processes);
        assert!(!shallow.found.contains_key(&third(POD)) && shallow.found.contains_key(&third(9)));
    }

    #[test]
    fn a_container_names_the_namespace_of_its_first_process_only() {
        let tree = Tree::new();
        let cgroup = format!("0::/system.slice/docker-{}.scope\n", "0123456789abcdef".repeat(4));
        for (pid, inode) in [(80, POD), (81, 5), (79, 6)] {
            tree.process(pid, inode);
            tree.cgroup(pid, if pid == 79 { "0::/\n" } else { &cgroup });
        }
        let found = look(&tree, Depth::Processes);
        assert_eq!(name(&found, POD), Some("0123456789ab"));
        assert_eq!((name(&found, 5), name(&found, 6)), (None, None));
    }

    #[test]
    fn a_name_that_means_something_else_is_not_taken() {
        let tree = Tree::new();
        for odd in ["host", "gone", "4026531840", "4026531840.3"] {
            tree.name(odd, 9);
            let found = look(&tree, Depth::Processes);
            assert!(found.found.contains_key(&third(9)));
            assert_eq!(name(&found, 9), None, "{odd}");
        }
    }

    #[test]
    fn a_number_that_changes_hands_while_it_is_looked_at_is_nobodys() {
        let tree = Tree::new();
        tree.process(80, POD);
        let times = std::sync::atomic::AtomicU32::new(0);
        let who =
            |inode| Netns { inode, generation: times.fetch_add(1, std::sync::atomic::Ordering::Relaxed) };
        assert!(search(tree.proc(), Depth::Processes, &who).found.is_empty());
    }

    #[test]
    fn this_process_is_found_on_this_machine() {
        let found = search(Path::new("/proc"), Depth::Threads, &third);
        let own = netns::of_task(Path::new("/proc/self")).expect("its own");
        assert!(found.found.get(&third(own)).is_some_and(|own| !own.members.is_empty()));
    }
}
