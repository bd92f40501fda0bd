//! Namespaces found, and their counters, read through a thread that is in the namespace or from inside.

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
    sync::Arc,
};

use netqueue_domain::Netns;

use super::{
    enter::{self, EnterError},
    member::Member,
    netns::WhoHas,
    netstat::{self, NetnsCounters, NetstatError},
    search::{Found, Search},
};

/// Namespaces found, and how to read them.
#[derive(Debug)]
pub struct Namespaces {
    proc: PathBuf,
    known: HashMap<Netns, Known>,
}

#[derive(Debug, Default)]
struct Known {
    members: Vec<Member>,
    file: Option<PathBuf>,
}

/// Reason why a namespace's counters cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// All its known threads have left, and no file is bound to it.
    #[error("no thread that is known is in it any more, and no file is bound to it")]
    Lost,
    /// No thread is in it, and reading it from inside failed.
    #[error("no thread is in it, and {0}")]
    Closed(#[from] EnterError),
    /// The counters of the namespace cannot be read.
    #[error(transparent)]
    Netstat(#[from] NetstatError),
}

impl Namespaces {
    /// Starts without any namespace.
    #[must_use]
    pub fn new(proc: &Path) -> Self {
        Self { proc: proc.to_owned(), known: HashMap::new() }
    }

    /// Returns all that were found and have not ended.
    pub fn all(&self) -> impl Iterator<Item = Netns> + '_ {
        self.known.keys().copied()
    }

    /// Returns whether a namespace was found and has not ended.
    #[must_use]
    pub fn knows(&self, netns: Netns) -> bool {
        self.known.contains_key(&netns)
    }

    /// Removes a namespace that has ended.
    pub fn forget(&mut self, netns: Netns) {
        self.known.remove(&netns);
    }

    /// Adds what a search found; returns the namespaces with their names.
    pub fn learn(&mut self, search: Search) -> Vec<(Netns, Option<Arc<str>>)> {
        let take = |(netns, Found { name, file, members, .. })| {
            let known: &mut Known = self.known.entry(netns).or_default();
            known.file = file;
            if !members.is_empty() {
                known.members = members;
            }
            (netns, name)
        };
        search.found.into_iter().map(take).collect()
    }

    /// Reads the counters of these namespaces, making sure that each belongs to its namespace.
    pub fn read(
        &mut self,
        wanted: &[Netns],
        who: WhoHas<'_>,
    ) -> Vec<(Netns, Result<NetnsCounters, ReadError>)> {
        let mut closed = Vec::new();
        let mut seen: Vec<_> = wanted
            .iter()
            .filter_map(|netns| {
                let known = self.known.get_mut(netns)?;
                let read = known.read(&self.proc, *netns, who);
                if let (Err(ReadError::Lost), Some(file)) = (&read, &known.file) {
                    closed.push((*netns, file.clone()));
                    return None;
                }
                Some((*netns, read))
            })
            .collect();
        if !closed.is_empty() {
            let entered = enter::read(&closed, who).into_iter();
            seen.extend(entered.map(|(netns, read)| (netns, read.map_err(ReadError::from_inside))));
        }
        seen
    }
}

impl ReadError {
    fn from_inside(error: EnterError) -> Self {
        match error {
            EnterError::Renamed => Self::Lost,
            EnterError::Refused(_) | EnterError::Netstat(_) => Self::Closed(error),
        }
    }
}

impl Known {
    /// Reads through the first member that is in the namespace before and after the reading.
    /// Removes members that are not.
    fn read(&mut self, proc: &Path, netns: Netns, who: WhoHas<'_>) -> Result<NetnsCounters, ReadError> {
        while let Some(member) = self.members.first() {
            let inside = || member.inode(proc) == Some(netns.inode) && who(netns.inode) == netns;
            if inside() {
                let read = netstat::read(member.directory(proc).join("net"));
                if inside() {
                    return Ok(read?);
                }
            }
            self.members.remove(0);
        }
        Err(ReadError::Lost)
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;
    use crate::inventory::{Depth, search, tree::Tree};
    use netqueue_domain::KernelCounter;

    const POD: Netns = Netns { inode: 4_026_532_201, generation: 1 };

    const fn first(inode: u32) -> Netns {
        Netns { inode, generation: 1 }
    }

    fn known(tree: &Tree) -> Namespaces {
        let mut namespaces = Namespaces::new(tree.proc());
        namespaces.learn(search(tree.proc(), Depth::Threads, &first));
        namespaces
    }

    fn drops(namespaces: &mut Namespaces, who: WhoHas<'_>) -> Option<u64> {
        let [(_, Ok(seen))] = namespaces.read(&[POD], who)[..] else { return None };
        Some(seen.kernel.get(KernelCounter::ListenDrops))
    }

    #[test]
    fn when_one_thread_ends_the_next_is_at_hand_and_a_newcomer_has_to_be_found() {
        let tree = Tree::new();
        tree.process(70, POD.inode);
        tree.process(71, POD.inode);
        tree.counts(70, 70, 1);
        tree.counts(71, 71, 2);
        let mut namespaces = known(&tree);
        assert_eq!(drops(&mut namespaces, &first), Some(1));
        tree.end(70);
        assert_eq!(drops(&mut namespaces, &first), Some(2));
        tree.end(71);
        tree.process(72, POD.inode);
        tree.counts(72, 72, 3);
        assert_eq!(drops(&mut namespaces, &first), None);
        namespaces.learn(search(tree.proc(), Depth::Threads, &first));
        assert_eq!(drops(&mut namespaces, &first), Some(3));
    }

    #[test]
    fn the_counters_of_the_next_namespace_with_its_number_are_not_its_own() {
        let tree = Tree::new();
        tree.process(70, POD.inode);
        tree.counts(70, 70, 1);
        assert_eq!(drops(&mut known(&tree), &|inode| Netns { inode, generation: 2 }), None);
    }

    #[test]
    fn a_namespace_that_ends_while_it_is_read_is_not_compared() {
        thread_local!(static ASKED: Cell<u32> = const { Cell::new(0) });
        let tree = Tree::new();
        tree.process(70, POD.inode);
        tree.counts(70, 70, 1);
        let mut namespaces = known(&tree);
        let who = |inode| {
            ASKED.set(ASKED.get() + 1);
            Netns { inode, generation: ASKED.get() }
        };
        assert_eq!(drops(&mut namespaces, &who), None);
        assert_eq!(ASKED.get(), 2, "before, and after");
    }

    #[test]
    fn a_thread_that_moved_away_leads_nowhere() {
        let tree = Tree::new();
        tree.process(70, 1);
        tree.thread(70, 71, POD.inode);
        tree.counts(70, 71, 5);
        let mut namespaces = known(&tree);
        assert_eq!(drops(&mut namespaces, &first), Some(5));
        tree.thread(70, 71, 1);
        assert_eq!(drops(&mut namespaces, &first), None);
    }

    #[test]
    fn a_named_namespace_that_nobody_is_in_has_to_be_entered() {
        let tree = Tree::new();
        tree.name("blue", POD.inode);
        let mut namespaces = known(&tree);
        let [(_, Err(error))] = &namespaces.read(&[POD], &first)[..] else { panic!("it cannot be opened") };
        assert!(matches!(error, ReadError::Closed(_)), "{error}");
        tree.unname();
        assert!(namespaces.knows(POD), "its end is told by the kernel side");
    }
}
