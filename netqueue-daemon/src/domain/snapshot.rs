//! The read model: one immutable picture that metrics, API, command line and pages share.

use std::sync::Arc;

use super::{AccountId, AccountKey, Counts, EventLog, Health, Life, NamespaceView, Netns, Queues, Timestamp};

/// One account at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccountView {
    /// Its name for the outside.
    pub id: AccountId,
    /// Who it is.
    pub key: AccountKey,
    /// Which of the namespaces that had its inode number.
    pub life: Life,
    /// What it was charged since netqueue attached.
    pub counts: Counts,
    /// Its queues as of its newest event.
    pub queues: Queues,
    /// When it was first charged.
    pub first_seen: Timestamp,
    /// When its counts last moved.
    pub last_seen: Timestamp,
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
    /// Every account charged, in the order of first charge; those of dead namespaces are one after a while.
    pub accounts: Arc<[AccountView]>,
    /// The newest events.
    pub events: EventLog,
    /// Every namespace, in the order in which they became known; dead ones are one after a while.
    pub namespaces: Arc<[NamespaceView]>,
    /// What looking for namespaces costs.
    pub search: SearchCost,
    /// What netqueue says about itself.
    pub health: Health,
}

/// What looking for network namespaces costs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SearchCost {
    /// How often processes were looked through.
    pub searches: u64,
    /// How long that took in all.
    pub spent: std::time::Duration,
    /// Processes looked at the last time,
    pub processes: u64,
    /// threads besides,
    pub threads: u64,
    /// and those that may not be looked at.
    pub denied: u64,
}

impl Snapshot {
    /// The account that was charged last under `key`.
    #[must_use]
    pub fn account(&self, key: &AccountKey) -> Option<&AccountView> {
        self.accounts.iter().rfind(|account| account.key == *key)
    }

    /// How an account's namespace is called.
    #[must_use]
    pub fn netns_of(&self, account: &AccountView) -> Arc<str> {
        let index = self.namespaces.binary_search_by_key(&account.life, |namespace| namespace.life);
        match index.ok().and_then(|index| self.namespaces.get(index)) {
            Some(namespace) => Arc::clone(&namespace.name),
            None => account.key.netns().0.to_string().into(),
        }
    }

    /// How the namespace with an inode number was called at a time: `host` for that of PID 1, else its name, its
    /// container or the number.
    #[must_use]
    pub fn netns_at(&self, netns: Netns, time: Timestamp) -> Arc<str> {
        let mut lives = self.namespaces.iter().rev().filter(|namespace| namespace.netns == netns).peekable();
        let newest = lives.peek().copied();
        match lives.find(|namespace| namespace.since <= time).or(newest) {
            Some(namespace) => Arc::clone(&namespace.name),
            None if netns == self.host => "host".into(),
            None => netns.0.to_string().into(),
        }
    }
}
