//! The read model: one immutable picture that metrics, API, command line and pages share.

use std::sync::Arc;

use super::{
    AccountId, AccountKey, Counts, EventLog, Health, NamespaceBalance, Netns, Queues, Spike, Timestamp,
    Traffic,
};

/// One account at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccountView {
    /// Its name for the outside.
    pub id: AccountId,
    /// Who it is.
    pub key: AccountKey,
    /// What it was charged since netqueue attached.
    pub counts: Counts,
    /// Its queues as of its newest event.
    pub queues: Queues,
    /// What went through it, and how full its queues were.
    pub traffic: Arc<Traffic>,
    /// When it was first charged.
    pub first_seen: Timestamp,
    /// When its counts last moved.
    pub last_seen: Timestamp,
    /// When the listener was closed; `None` while it listens, and for what is no listener.
    pub closed: Option<Timestamp>,
    /// How many more listeners it stands for that listened here before and are closed, too.
    pub predecessors: u64,
    /// Whether it has a place of its own among the series; else it is part of its namespace's `other`. It stays so.
    pub apart: bool,
}

/// Everything netqueue knows at one moment.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// When it was taken.
    pub taken: Timestamp,
    /// Since when netqueue has been counting.
    pub attached: Timestamp,
    /// The namespace of PID 1.
    pub host: Netns,
    /// Every account ever charged, in the order of first charge; those that are long over are in [`AccountKey::Gone`].
    pub accounts: Arc<[AccountView]>,
    /// The newest events.
    pub events: EventLog,
    /// The kernel's counters against ours, for every namespace that is compared.
    pub balances: Vec<NamespaceBalance>,
    /// What netqueue says about itself.
    pub health: Health,
    /// Sudden rises of drops that go on, and the newest of those that are over; oldest first.
    pub spikes: Arc<[Spike]>,
}

impl Snapshot {
    /// The account that was charged under `key`.
    #[must_use]
    pub fn account(&self, key: &AccountKey) -> Option<&AccountView> {
        self.accounts.iter().find(|account| account.key == *key)
    }

    /// How a namespace is called: `host` for that of PID 1, else its inode number and generation.
    #[must_use]
    pub fn netns_name(&self, netns: Netns) -> String {
        if netns == self.host { "host".to_owned() } else { netns.to_string() }
    }
}
