//! What is known of the runs of netqueue before this one: their events were read back from the event log on disk.

use std::{collections::HashMap, sync::Arc};

use super::{AccountKey, Timestamp};

/// One run of the daemon, as far as its event log tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EarlierRun {
    /// When it attached: its name.
    pub attached: Timestamp,
    /// When it began to write.
    pub began: Timestamp,
    /// When it wrote last.
    pub wrote: Timestamp,
    /// The number of its last event that was written.
    pub last: u64,
    /// Whether it said that it ended: nothing is missing then.
    pub ended: bool,
}

/// Whom an event of an earlier run concerned, by the names of then.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Named {
    /// The process that held the listener; empty where it was not known.
    pub process: Arc<str>,
    /// What its namespace was called.
    pub netns: Arc<str>,
}

/// The runs before this one that events are held of, or were written of; oldest first.
#[derive(Clone, Debug, Default)]
pub struct Earlier {
    runs: Vec<EarlierRun>,
    names: HashMap<(Timestamp, AccountKey), Named>,
}

impl Earlier {
    /// These runs; nobody is named yet.
    #[must_use]
    pub fn new(runs: Vec<EarlierRun>) -> Self {
        Self { runs, names: HashMap::new() }
    }

    /// In that run, the account was called so. Who is named last is.
    pub fn name(&mut self, run: Timestamp, account: AccountKey, named: Named) {
        self.names.insert((run, account), named);
    }

    /// The runs, oldest first.
    #[must_use]
    pub fn runs(&self) -> &[EarlierRun] {
        &self.runs
    }

    /// Whose event the number was given to.
    #[must_use]
    pub fn run_of(&self, number: u64) -> Option<&EarlierRun> {
        self.runs.iter().find(|run| number <= run.last)
    }

    /// Whom that event concerned.
    #[must_use]
    pub fn named(&self, number: u64, account: &AccountKey) -> Option<&Named> {
        self.names.get(&(self.run_of(number)?.attached, *account))
    }
}
