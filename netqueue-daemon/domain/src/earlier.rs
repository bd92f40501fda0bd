//! Earlier runs of netqueue, whose events were read back from the event log on disk.

use std::{collections::HashMap, sync::Arc};

use super::{AccountKey, Timestamp};

/// One run of the daemon, as far as its event log records it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EarlierRun {
    /// Attach time, which identifies the run.
    pub attached: Timestamp,
    /// Time of its first write.
    pub began: Timestamp,
    /// Time of its last write.
    pub wrote: Timestamp,
    /// Number of the last event that it wrote.
    pub last: u64,
    /// True if the run recorded its end, so that nothing is missing.
    pub ended: bool,
}

/// Names of an account's process and namespace, as they were when an event concerned it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Named {
    /// Process that owned the listener; empty if unknown.
    pub process: Arc<str>,
    /// Name of the namespace.
    pub netns: Arc<str>,
}

/// Runs before this one whose events are in the log or were once written; oldest first.
#[derive(Clone, Debug, Default)]
pub struct Earlier {
    runs: Vec<EarlierRun>,
    names: HashMap<(Timestamp, AccountKey), Named>,
}

impl Earlier {
    /// Creates the list of runs, without any names.
    #[must_use]
    pub fn new(runs: Vec<EarlierRun>) -> Self {
        Self { runs, names: HashMap::new() }
    }

    /// Records the names that an account had in a run; the last ones recorded count.
    pub fn name(&mut self, run: Timestamp, account: AccountKey, named: Named) {
        self.names.insert((run, account), named);
    }

    /// Returns the runs, oldest first.
    #[must_use]
    pub fn runs(&self) -> &[EarlierRun] {
        &self.runs
    }

    /// Returns the run in which this event number was assigned.
    #[must_use]
    pub fn run_of(&self, number: u64) -> Option<&EarlierRun> {
        self.runs.iter().find(|run| number <= run.last)
    }

    /// Returns the names of an event's account in the run of the event.
    #[must_use]
    pub fn named(&self, number: u64, account: &AccountKey) -> Option<&Named> {
        self.names.get(&(self.run_of(number)?.attached, *account))
    }
}
