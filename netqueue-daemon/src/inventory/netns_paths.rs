//! Paths by which network namespaces can be entered or read.
//!
//! Searches find them, as often as costs little.

use std::{
    collections::BTreeMap,
    path::Path,
    time::{Duration, Instant},
};

use netqueue_domain::Netns;

use super::{
    netns::{self, WhoHas},
    netns_probe::Place,
    search::{Depth, search},
};

/// Factor of the pause after a search of all threads, which so takes 2 % of one CPU at most.
const SHARE: u32 = 50;

/// Namespaces found, and the time of the last search of all threads.
#[derive(Debug, Default)]
pub(super) struct NetnsPaths {
    known: BTreeMap<Netns, Place>,
    thorough: Option<(Instant, Duration)>,
}

impl NetnsPaths {
    /// Returns every namespace that a process or thread below `proc` is in, or that a file is bound to.
    pub(super) fn search(&mut self, proc: &Path, who: WhoHas<'_>, now: Instant) -> Vec<Place> {
        let due = self.thorough.is_none_or(|(last, took)| now.duration_since(last) >= took * SHARE);
        let found = search(proc, if due { Depth::Threads } else { Depth::Processes }, who);
        if due {
            self.thorough = Some((now, found.took));
        }
        let way = |(netns, found): (Netns, super::search::Found)| {
            let directory = found.members.first().map(|member| member.directory(proc));
            let file = directory.as_ref().map(|directory| directory.join("ns/net")).or(found.file)?;
            Some((netns, Place { netns, file, shown: directory.map(|directory| directory.join("net")) }))
        };
        let mut places: BTreeMap<_, _> = found.found.into_iter().filter_map(way).collect();
        if !due {
            // A namespace that only threads are in is not found by a search of processes, but may still
            // exist.
            let still = |(netns, place): &(Netns, Place)| {
                let directory = place.shown.as_deref().and_then(Path::parent);
                let inode = || directory.and_then(|directory| netns::of_task(directory).ok());
                netns::identify(who, inode) == Some(*netns)
            };
            for (netns, place) in std::mem::take(&mut self.known).into_iter().filter(still) {
                places.entry(netns).or_insert(place);
            }
        }
        self.known = places;
        self.known.values().cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inventory::tree::Tree;

    const HOST: u32 = 4_026_531_840;
    const POD: u32 = 4_026_532_201;

    #[test]
    fn a_namespace_only_a_thread_is_in_is_kept_between_looks_at_threads_and_goes_with_the_thread() {
        let tree = Tree::new();
        tree.process(1, HOST);
        tree.thread(1, 71, POD);
        let (mut places, start) = (NetnsPaths::default(), Instant::now());
        let mut inodes = |after: u64| -> Vec<u32> {
            let now = start + Duration::from_secs(after);
            places.search(tree.proc(), &Netns::at_attach, now).iter().map(|place| place.netns.inode).collect()
        };
        assert_eq!(inodes(0), [HOST, POD]);
        assert_eq!(inodes(0), [HOST, POD]);
        tree.thread(1, 71, HOST);
        assert_eq!(inodes(3600), [HOST]);
    }
}
