//! Samples connections of servers whose clients lose the keep-alive race, to infer idle time-outs.
//!
//! Only of those servers and only while it happens, since each sample walks the kernel's table of
//! connections.

use std::{
    collections::{BTreeMap, BTreeSet},
    mem,
    sync::{Arc, Mutex, PoisonError},
};

use netqueue_domain::{IdleClosings, IdleLimit, LateData, Netns, Timestamp};

use super::sock_diag;

/// Servers to watch, as derived from the counts of resets, and the resets of theirs that are new.
#[derive(Clone, Debug, Default)]
pub struct Raced(Arc<Mutex<Wanted>>);

#[derive(Clone, Debug, Default)]
struct Wanted {
    servers: BTreeSet<(Netns, u16)>,
    resets: Vec<LateData>,
}

/// Maximum number of resets that wait for the next pass.
const WAITING: usize = 1024;

impl Raced {
    /// Replaces the servers to watch. Returns whether there are any that were not watched before.
    pub(super) fn set(&self, servers: BTreeSet<(Netns, u16)>, resets: Vec<LateData>) -> bool {
        let mut now = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let more = !servers.is_subset(&now.servers);
        now.servers = servers;
        now.resets.extend(resets);
        now.resets.truncate(WAITING);
        more
    }

    fn get(&self) -> Wanted {
        let mut now = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        Wanted { servers: now.servers.clone(), resets: mem::take(&mut now.resets) }
    }
}

/// Samples of each watched server.
#[derive(Debug, Default)]
pub(super) struct IdleWatch {
    servers: BTreeMap<(Netns, u16), IdleClosings>,
}

impl IdleWatch {
    /// Starts to watch the servers that are to be watched now, and drops the others.
    pub(super) fn begin(&mut self, raced: &Raced) {
        let Wanted { servers, resets } = raced.get();
        self.servers.retain(|server, _| servers.contains(server));
        for server in servers {
            self.servers.entry(server).or_default();
        }
        for reset in resets {
            if let Some(closings) = self.servers.get_mut(&(reset.netns, reset.port)) {
                closings.late_data(reset.peer, reset.at);
            }
        }
    }

    /// Returns whether any server in this namespace is watched.
    pub(super) fn watches(&self, netns: Netns) -> bool {
        self.servers.range((netns, 0)..=(netns, u16::MAX)).next().is_some()
    }

    /// Returns whether any server is watched.
    pub(super) fn is_watching(&self) -> bool {
        !self.servers.is_empty()
    }

    /// Samples the servers in the namespace that the calling thread is in. A failed sample is skipped.
    pub(super) fn look(&mut self, netns: Netns, now: Timestamp) {
        for ((_, port), closings) in self.servers.range_mut((netns, 0)..=(netns, u16::MAX)) {
            if let Ok(seen) = sock_diag::connections(*port) {
                closings.look(seen, now);
            }
        }
    }

    /// Returns the idle time-outs inferred so far.
    pub(super) fn limits(&self) -> Vec<(Netns, u16, IdleLimit)> {
        let known = self.servers.iter();
        known.filter_map(|((netns, port), closings)| Some((*netns, *port, closings.limit()?))).collect()
    }
}
