//! Increases of the counters beside netqueue's own over the last 15 minutes, by namespace. Only what
//! moved is kept.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
    time::Duration,
};

use serde::{Deserialize, Serialize};

use super::BesideCounter;
use crate::{AccountWindow, Netns, Timestamp};

/// Time within which increases are one entry: 30 entries at most for each counter.
const STEP: Duration = Duration::from_secs(30);
/// Maximum number of namespaces remembered; those that moved least recently are forgotten first.
const NAMESPACES: usize = 1024;

/// Increase of one counter within [`STEP`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rise {
    /// First reading that showed it.
    since: Timestamp,
    /// Last reading that showed it.
    until: Timestamp,
    /// Increase.
    by: u64,
}

/// Increases of one namespace's counters.
type Rises = BTreeMap<BesideCounter, VecDeque<Rise>>;

/// State of one namespace for a checkpoint.
pub type BesideEntry = (Netns, Vec<(BesideCounter, Vec<Rise>)>);

/// Increases of the counters beside netqueue's own.
#[derive(Clone, Debug, Default)]
pub struct Beside {
    namespaces: Arc<BTreeMap<Netns, Rises>>,
    pruned: Timestamp,
}

/// Increase of one counter in a window of time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moved {
    /// Counter that moved.
    pub counter: BesideCounter,
    /// Increase in the window.
    pub by: u64,
    /// Last reading that showed an increase.
    pub last: Timestamp,
}

impl Beside {
    /// Takes in what a reading of a namespace's counters at `now` showed.
    pub fn rose(&mut self, netns: Netns, risen: &[(BesideCounter, u64)], now: Timestamp) {
        let rises = Arc::make_mut(&mut self.namespaces).entry(netns).or_default();
        for (counter, by) in risen {
            let rises = rises.entry(*counter).or_default();
            match rises.back_mut() {
                Some(last) if now.since(last.since) < STEP => {
                    last.until = now;
                    last.by += by;
                }
                Some(_) | None => rises.push_back(Rise { since: now, until: now, by: *by }),
            }
        }
    }

    /// Forgets what is older than 15 minutes, and the namespaces above the limit.
    pub fn tick(&mut self, now: Timestamp) {
        if now.since(self.pruned) < STEP {
            return;
        }
        self.pruned = now;
        let oldest = now.before(AccountWindow::HELD);
        let is_old = |rises: &VecDeque<Rise>| rises.front().is_some_and(|rise| rise.until < oldest);
        let stale = self.namespaces.values().any(|rises| rises.values().any(is_old));
        if !stale && self.namespaces.len() <= NAMESPACES {
            return;
        }
        let namespaces = Arc::make_mut(&mut self.namespaces);
        for rises in namespaces.values_mut() {
            rises.values_mut().for_each(|rises| rises.retain(|rise| rise.until >= oldest));
            rises.retain(|_, rises| !rises.is_empty());
        }
        namespaces.retain(|_, rises| !rises.is_empty());
        let mut last: Vec<_> = namespaces.iter().map(|(netns, rises)| (last_of(rises), *netns)).collect();
        last.sort_unstable();
        for (_, netns) in last.iter().take(namespaces.len().saturating_sub(NAMESPACES)) {
            namespaces.remove(netns);
        }
    }

    /// Iterates over the namespaces in which a counter moved.
    pub fn namespaces(&self) -> impl Iterator<Item = Netns> + '_ {
        self.namespaces.keys().copied()
    }

    /// Returns what moved in a namespace from `from` on. An increase counts from the reading that showed
    /// it, so that up to 30 s more than the window may be included.
    #[must_use]
    pub fn moved(&self, netns: Netns, from: Timestamp) -> Vec<Moved> {
        let rises = self.namespaces.get(&netns).into_iter().flatten();
        rises
            .filter_map(|(counter, rises)| {
                let within = || rises.iter().filter(|rise| rise.until >= from);
                let last = within().map(|rise| rise.until).max()?;
                Some(Moved { counter: *counter, by: within().map(|rise| rise.by).sum(), last })
            })
            .collect()
    }

    /// Exports the state.
    pub(crate) fn checkpoint(&self) -> Vec<BesideEntry> {
        let rises = |rises: &Rises| {
            rises.iter().map(|(counter, rises)| (*counter, rises.iter().copied().collect())).collect()
        };
        self.namespaces.iter().map(|(netns, of)| (*netns, rises(of))).collect()
    }

    /// Creates the state from an exported one.
    pub(crate) fn restored(checkpoint: Vec<BesideEntry>) -> Self {
        let rises = |rises: Vec<(BesideCounter, Vec<Rise>)>| {
            rises.into_iter().map(|(counter, rises)| (counter, rises.into())).collect()
        };
        let namespaces = checkpoint.into_iter().map(|(netns, of)| (netns, rises(of)));
        Self { namespaces: Arc::new(namespaces.collect()), pruned: Timestamp::default() }
    }
}

fn last_of(rises: &Rises) -> Option<Timestamp> {
    rises.values().filter_map(|rises| rises.back()).map(|rise| rise.until).max()
}
