//! The read model: one immutable picture that metrics, API, command line and pages share.

use std::{
    collections::BTreeMap,
    sync::{Arc, LazyLock},
};

use serde::{Deserialize, Serialize};

use super::{
    AccountId, AccountKey, Counts, EventLog, Health, History, IdleLimits, JournalState, Listener,
    NamespaceBalance, NamespaceView, Netns, Queues, Recent, SearchCost, Spike, Timestamp, Traffic, WallClock,
};

/// One account at one moment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccountView {
    /// Its name for the outside.
    pub id: AccountId,
    /// Who it is.
    pub key: AccountKey,
    /// What it was charged since netqueue attached.
    pub counts: Counts,
    #[serde(default)]
    /// Its queues as of its newest event, or of the newest look at the listener.
    pub queues: Queues,
    /// The listener, once the inventory has found it; it stays when the listener is closed.
    #[serde(default)]
    pub listener: Option<Arc<Listener>>,
    /// The name its series carry: that of the process that holds the listener, empty while that is unknown.
    #[serde(default)]
    pub process: Arc<str>,
    /// What it was charged while it had other names: these parts of [`Self::counts`] stay with those.
    #[serde(default)]
    pub earlier: Vec<(Arc<str>, Counts)>,
    /// What went through it, and how full its queues were.
    #[serde(default)]
    pub traffic: Arc<Traffic>,
    /// What happened to it over time.
    #[serde(skip, default = "History::none")]
    pub history: Arc<History>,
    /// When it was first charged or found.
    pub first_seen: Timestamp,
    /// When its counts last moved.
    pub last_seen: Timestamp,
    /// When the listener was closed; `None` while it listens, and for what is no listener.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub closed: Option<Timestamp>,
    /// How many more listeners it stands for that listened here before and are closed, too.
    #[serde(default)]
    pub predecessors: u64,
    /// How many scrapes have shown it since it was over: since the kernel side gave it up, or, where that never knew it,
    /// since it was closed. `None` while more can be charged to it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub over: Option<u8>,
    /// Whether it has a place of its own among the series; else it is part of its namespace's `other`. It stays so.
    #[serde(default = "yes")]
    pub apart: bool,
}

const fn yes() -> bool {
    true
}

/// The name of what has none yet.
fn nameless() -> Arc<str> {
    static NAMELESS: LazyLock<Arc<str>> = LazyLock::new(|| Arc::from(""));
    Arc::clone(&NAMELESS)
}

/// So many names an account may have had; then it keeps the one it has.
const MOST_NAMES: usize = 4;

impl AccountView {
    /// An account nothing was charged to yet.
    #[must_use]
    pub fn new(id: AccountId, key: AccountKey, traffic: Arc<Traffic>, now: Timestamp) -> Self {
        Self {
            id,
            key,
            counts: Counts::default(),
            queues: Queues::default(),
            traffic,
            history: History::none(),
            listener: None,
            process: nameless(),
            earlier: Vec::new(),
            first_seen: now,
            last_seen: now,
            closed: None,
            predecessors: 0,
            over: None,
            apart: !matches!(key, AccountKey::Other(_) | AccountKey::Gone(_)),
        }
    }

    /// Takes over what is known of the listener. Where that changes its name, what was charged so far stays with the
    /// old one: no series loses what it had.
    pub fn learn(&mut self, listener: Arc<Listener>) {
        let name = listener.owner().map_or_else(nameless, |owner| Arc::clone(&owner.comm));
        if self.process != name && self.earlier.len() < MOST_NAMES {
            let so_far = self.under_this_name();
            if so_far != Counts::default() {
                self.earlier.push((Arc::clone(&self.process), so_far));
            }
            self.process = name;
        }
        self.closed = self.closed.or(listener.closed);
        self.listener = Some(listener);
    }

    /// Its counts by the names it had when they were charged; the sum is [`Self::counts`].
    pub fn by_name(&self) -> impl Iterator<Item = (&str, Counts)> {
        let earlier = self.earlier.iter().map(|(name, counts)| (&**name, *counts));
        earlier.chain([(&*self.process, self.under_this_name())])
    }

    fn under_this_name(&self) -> Counts {
        self.earlier.iter().fold(self.counts, |rest, (_, earlier)| rest.less(earlier))
    }
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
    /// Every listener, and every account ever charged, in the order they were first met; those that are long over are in
    /// [`AccountKey::Gone`].
    // Each is shared with the next snapshot until it changes.
    pub accounts: Arc<[Arc<AccountView>]>,
    /// The newest events.
    pub events: EventLog,
    /// Every namespace that was found or that something was charged to, with the kernel's counters against ours.
    pub namespaces: Arc<BTreeMap<Netns, NamespaceView>>,
    /// What looking for them costs.
    pub search: SearchCost,
    /// What netqueue says about itself.
    pub health: Health,
    /// Sudden rises of drops that go on, and the newest of those that are over; oldest first.
    pub spikes: Arc<[Spike]>,
    /// What every account was charged lately, and when.
    pub recent: Recent,
    /// The event log on disk, where there is one.
    pub journal: Option<JournalState>,
    /// How long servers whose clients lose the keep-alive race let connections idle, as far as that was seen.
    pub idle_limits: Arc<IdleLimits>,
    /// The wall clock on which every time of it is shown.
    pub wall_clock: WallClock,
}

impl Snapshot {
    /// The account that was charged under `key`.
    #[must_use]
    pub fn account(&self, key: &AccountKey) -> Option<&AccountView> {
        self.accounts.iter().map(|account| &**account).find(|account| account.key == *key)
    }

    /// Whether the namespace of PID 1 is the host's and not a container's.
    #[must_use]
    pub fn sees_host(&self) -> bool {
        self.netns_name(self.host) == "host"
    }

    /// How a namespace is called: `host` for the host's, else its name, its container, or its inode number and
    /// generation; the latter also for one that ended long ago.
    #[must_use]
    pub fn netns_name(&self, netns: Netns) -> String {
        match self.namespaces.get(&netns) {
            Some(namespace) => namespace.name.to_string(),
            None if netns == self.host => "host".to_owned(),
            None => netns.to_string(),
        }
    }

    /// The comparisons there are, the host's first.
    pub fn balances(&self) -> impl Iterator<Item = &NamespaceBalance> {
        let (host, others): (Vec<_>, Vec<_>) =
            self.namespaces.values().partition(|namespace| namespace.netns == self.host);
        host.into_iter().chain(others).filter_map(|namespace| namespace.balance.as_ref())
    }
}
