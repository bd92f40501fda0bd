//! The namespaces that were found, and their counters, each read through a thread that is in it or from inside.

use std::{collections::HashMap, path::PathBuf, sync::Arc};

use super::{
    enter::{self, EnterError},
    member::Member,
    netns,
    netstat::{self, Counters, NetstatError},
    search::{Depth, Found, Roots, Search},
};
use crate::domain::{Evidence, Netns, PerCounter};

/// The namespaces that were found and how to read them.
#[derive(Debug)]
pub struct Namespaces {
    roots: Roots,
    known: HashMap<Netns, Known>,
}

#[derive(Debug, Default)]
struct Known {
    members: Vec<Member>,
    /// The first so many members were in it at the last reading, or before.
    witnesses: usize,
    file: Option<PathBuf>,
}

/// So many witnesses are kept when others are found.
const WITNESSES: usize = 3;

/// What a search changed.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// Every namespace found, with its name.
    pub found: Vec<(Netns, Option<Arc<str>>)>,
    /// Known ones that nothing refers to any more.
    pub gone: Vec<Netns>,
    /// Known ones that may be gone: only a look at every thread can tell.
    pub doubtful: bool,
}

/// One namespace's counters.
#[derive(Clone, Copy, Debug)]
pub struct Seen {
    /// As the kernel counts.
    pub kernel: PerCounter<u64>,
    /// Whose they are.
    pub evidence: Evidence,
}

/// Why a namespace's counters are not known.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// No thread known to be in it is in it any more, and it has no name.
    #[error("no known thread is in it any more")]
    Lost,
    /// No thread is in it, and reading it from inside failed.
    #[error("no thread is in it, and {0}")]
    Closed(#[from] EnterError),
    /// Its files cannot be read.
    #[error(transparent)]
    Netstat(#[from] NetstatError),
}

impl Namespaces {
    /// None known yet.
    #[must_use]
    pub fn new(roots: Roots) -> Self {
        Self { roots, known: HashMap::new() }
    }

    /// All that were found and are not known to be gone.
    pub fn all(&self) -> impl Iterator<Item = Netns> + '_ {
        self.known.keys().copied()
    }

    /// Whether it was found, and is not known to be gone.
    #[must_use]
    pub fn knows(&self, netns: Netns) -> bool {
        self.known.contains_key(&netns)
    }

    /// Takes over what a search found.
    pub fn learn(&mut self, search: Search) -> Changes {
        let mut changes = Changes::default();
        let Self { roots, known } = self;
        known.retain(|netns, known| {
            if search.found.contains_key(netns) {
                return true;
            }
            known.file = None;
            let alive = known.members.iter().any(|member| member.is_in(&roots.proc, *netns));
            let gone = !alive && search.depth == Depth::Threads;
            changes.doubtful |= !alive && !gone;
            changes.gone.extend(gone.then_some(*netns));
            !gone
        });
        for (netns, Found { name, file, members, .. }) in search.found {
            let known = known.entry(netns).or_default();
            known.file = file;
            // Those known already come first: they can bear witness.
            let new: Vec<_> = members.into_iter().filter(|new| !known.members.contains(new)).collect();
            known.witnesses = known.witnesses.min(WITNESSES);
            known.members.truncate(known.witnesses);
            known.members.extend(new);
            changes.found.push((netns, name));
        }
        changes
    }

    /// Reads the counters of these namespaces.
    pub fn read(&mut self, wanted: &[Netns]) -> Vec<(Netns, Result<Seen, ReadError>)> {
        let mut closed = Vec::new();
        let mut seen: Vec<_> = wanted
            .iter()
            .filter_map(|netns| {
                let known = self.known.get_mut(netns)?;
                let read = known.read(&self.roots, *netns);
                if let (Err(ReadError::Lost), Some(file)) = (&read, &known.file) {
                    closed.push((*netns, file.clone()));
                    return None;
                }
                Some((*netns, read))
            })
            .collect();
        if !closed.is_empty() {
            let device = netns::device(&self.roots.proc).unwrap_or_default();
            let entered = enter::read(&closed, device).into_iter();
            seen.extend(entered.map(|(netns, read)| (netns, from_inside(read))));
        }
        seen
    }
}

fn from_inside(read: Result<Counters, EnterError>) -> Result<Seen, ReadError> {
    match read {
        Ok(Counters { kernel, traffic }) => {
            Ok(Seen { kernel, evidence: Evidence { traffic, witnessed: false } })
        }
        Err(EnterError::Renamed) => Err(ReadError::Lost),
        Err(error) => Err(error.into()),
    }
}

impl Known {
    /// Reads through the first member that is in the namespace before and after; forgets those that are not.
    fn read(&mut self, roots: &Roots, netns: Netns) -> Result<Seen, ReadError> {
        while let Some(member) = self.members.first() {
            let read = netstat::read_all(member.directory(&roots.proc).join("net"));
            if !member.is_in(&roots.proc, netns) {
                self.members.remove(0);
                self.witnesses = self.witnesses.saturating_sub(1);
                continue;
            }
            let Counters { kernel, traffic } = read?;
            let witnessed = self.witnesses > 0;
            self.witnesses = self.members.len();
            return Ok(Seen { kernel, evidence: Evidence { traffic, witnessed } });
        }
        Err(ReadError::Lost)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inventory::{search, tree::Tree};

    const POD: Netns = Netns(4_026_532_201);

    /// A pod with a process and a thread elsewhere's, after one search of every thread.
    fn known(tree: &Tree) -> Namespaces {
        let mut namespaces = Namespaces::new(tree.roots());
        namespaces.learn(search(&tree.roots(), Depth::Threads));
        namespaces
    }

    fn witnessed(namespaces: &mut Namespaces) -> Option<(u64, bool)> {
        let [(_, Ok(seen))] = namespaces.read(&[POD])[..] else { return None };
        Some((seen.evidence.traffic[0], seen.evidence.witnessed))
    }

    #[test]
    fn the_second_reading_through_a_thread_is_witnessed() {
        let tree = Tree::new();
        tree.process(70, POD);
        tree.counts(70, 70, 24);
        let mut namespaces = known(&tree);
        assert_eq!(witnessed(&mut namespaces), Some((24, false)));
        assert_eq!(witnessed(&mut namespaces), Some((24, true)));
        namespaces.learn(search(&tree.roots(), Depth::Processes));
        assert_eq!(witnessed(&mut namespaces), Some((24, true)));
    }

    #[test]
    fn when_one_thread_ends_the_next_bears_witness_but_a_newcomer_does_not() {
        let tree = Tree::new();
        tree.process(70, POD);
        tree.process(71, POD);
        tree.counts(70, 70, 1);
        tree.counts(71, 71, 2);
        let mut namespaces = known(&tree);
        assert_eq!(witnessed(&mut namespaces), Some((1, false)));
        tree.end(70);
        assert_eq!(witnessed(&mut namespaces), Some((2, true)));
        tree.end(71);
        tree.process(72, POD);
        tree.counts(72, 72, 3);
        assert_eq!(witnessed(&mut namespaces), None, "whoever is in it now has to be found first");
        namespaces.learn(search(&tree.roots(), Depth::Threads));
        assert_eq!(witnessed(&mut namespaces), Some((3, false)));
    }

    #[test]
    fn a_thread_in_a_namespace_of_its_own_is_found_only_by_looking_at_threads_and_not_lost_without() {
        let tree = Tree::new();
        tree.process(70, Netns(1));
        tree.thread(70, 71, POD);
        tree.counts(70, 71, 5);
        let mut namespaces = known(&tree);
        let again = namespaces.learn(search(&tree.roots(), Depth::Processes));
        assert!(namespaces.knows(POD) && !again.doubtful && again.gone.is_empty());
        tree.thread(70, 71, Netns(1));
        assert!(namespaces.learn(search(&tree.roots(), Depth::Processes)).doubtful);
        let gone = namespaces.learn(search(&tree.roots(), Depth::Threads));
        assert_eq!(gone.gone, [POD]);
        assert!(!namespaces.knows(POD));
    }

    #[test]
    fn a_named_namespace_lives_without_processes_until_its_name_goes() {
        let tree = Tree::new();
        let blue = tree.name("blue");
        let mut namespaces = known(&tree);
        let [(_, Err(error))] = &namespaces.read(&[blue])[..] else { panic!("a plain file can be entered") };
        assert!(matches!(error, ReadError::Closed(_)), "{error}");
        tree.unname("blue");
        assert_eq!(namespaces.learn(search(&tree.roots(), Depth::Threads)).gone, [blue]);
    }
}
