//! Looks at the connections of servers whose clients lose the keep-alive race, to infer after how long they close idle
//! ones. Only those servers, only while it happens: each look walks the kernel's table of connections.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, PoisonError},
};

use super::sock_diag;
use netqueue_domain::{IdleClosings, IdleLimit, Netns, Timestamp};

/// The servers to look at, as whoever counts resets says.
#[derive(Clone, Debug, Default)]
pub struct Raced(Arc<Mutex<BTreeSet<(Netns, u16)>>>);

impl Raced {
    /// From now on these. Returns whether there is any that was not among them before.
    pub(super) fn set(&self, servers: BTreeSet<(Netns, u16)>) -> bool {
        let mut now = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let more = !servers.is_subset(&now);
        *now = servers;
        more
    }

    fn get(&self) -> BTreeSet<(Netns, u16)> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// What was seen of each of them.
#[derive(Debug, Default)]
pub(super) struct IdleWatch {
    servers: BTreeMap<(Netns, u16), IdleClosings>,
}

impl IdleWatch {
    /// Begins to watch those that are to be watched now, and forgets the others.
    pub(super) fn begin(&mut self, raced: &Raced) {
        let wanted = raced.get();
        self.servers.retain(|server, _| wanted.contains(server));
        wanted.into_iter().for_each(|server| {
            self.servers.entry(server).or_default();
        });
    }

    /// Whether any server there is watched.
    pub(super) fn watches(&self, netns: Netns) -> bool {
        self.servers.range((netns, 0)..=(netns, u16::MAX)).next().is_some()
    }

    /// Whether any server is watched at all.
    pub(super) fn is_watching(&self) -> bool {
        !self.servers.is_empty()
    }

    /// Looks at those in the namespace the calling thread is in. A look that fails shows nothing.
    pub(super) fn look(&mut self, netns: Netns, now: Timestamp) {
        for ((_, port), closings) in self.servers.range_mut((netns, 0)..=(netns, u16::MAX)) {
            if let Ok(seen) = sock_diag::connections(*port) {
                closings.look(seen, now);
            }
        }
    }

    /// What could be inferred so far.
    pub(super) fn limits(&self) -> Vec<(Netns, u16, IdleLimit)> {
        let known = self.servers.iter();
        known.filter_map(|((netns, port), closings)| Some((*netns, *port, closings.limit()?))).collect()
    }
}
