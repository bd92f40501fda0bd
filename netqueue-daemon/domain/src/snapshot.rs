//! Read model: one immutable snapshot that metrics, API, command line and pages share.

use std::{
    collections::BTreeMap,
    sync::{Arc, LazyLock},
};

use serde::{Deserialize, Serialize};

use super::{
    AccountId, AccountKey, Beside, Counts, EventLog, Health, History, IdleLimits, JournalState, Listener,
    NamespaceBalance, NamespaceView, Netns, OwnerState, Queues, SearchCost, Spike, Timestamp, Traffic,
    WallClock, Windows,
};

/// State of one account at one moment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccountView {
    /// Identifier for API and user interface.
    pub id: AccountId,
    /// Identity of the account.
    pub key: AccountKey,
    /// Charges since netqueue attached.
    pub counts: Counts,
    #[serde(default)]
    /// Queues as of the newest event, or of the newest reading of the listener.
    pub queues: Queues,
    /// Listener, once the inventory has found it; stays when the listener is closed.
    #[serde(default)]
    pub listener: Option<Arc<Listener>>,
    /// State of its owners when connections last waited for accept().
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner_state: Option<Arc<OwnerState>>,
    /// Newest state of its owners in which anything kept them from accepting.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner_hindered: Option<Arc<OwnerState>>,
    /// Process name of the series: that of the listener's owner, empty while it is unknown.
    #[serde(default)]
    pub process: Arc<str>,
    /// Parts of [`Self::counts`] charged under earlier process names, with which they stay.
    #[serde(default)]
    pub earlier: Vec<(Arc<str>, Counts)>,
    /// Traffic through the listener, and how full its queues were.
    #[serde(default)]
    pub traffic: Arc<Traffic>,
    /// History of charges, traffic and queues.
    #[serde(skip, default = "History::none")]
    pub history: Arc<History>,
    /// Time at which the account was first charged or found.
    pub first_seen: Timestamp,
    /// Time of the last charge, event or new connection.
    pub last_seen: Timestamp,
    /// Time at which the listener was closed; `None` while it listens, and for other accounts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub closed: Option<Timestamp>,
    /// Number of closed listeners merged into this account.
    #[serde(default)]
    pub predecessors: u64,
    /// Number of scrapes since the account ended; `None` while more can be charged to it. An account ends
    /// when the kernel side gives its slot back, or, if it never had one, when it is closed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub over: Option<u8>,
    /// True if it has a series of its own; else it is part of its namespace's `other`. Never changes.
    #[serde(default = "yes")]
    pub apart: bool,
}

const fn yes() -> bool {
    true
}

/// Returns the name of accounts that have none yet, shared.
fn nameless() -> Arc<str> {
    static NAMELESS: LazyLock<Arc<str>> = LazyLock::new(|| Arc::from(""));
    Arc::clone(&NAMELESS)
}

/// Maximum number of earlier names; after that, an account keeps the name it has.
const MOST_NAMES: usize = 4;

impl AccountView {
    /// Creates an account that nothing was charged to yet.
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
            owner_state: None,
            owner_hindered: None,
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

    /// Takes in the state of the listener. If that changes the process name, charges so far stay with the
    /// old one: no series loses any.
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

    /// Takes in the state of its owners. A state without a hindrance does not replace one with: a process
    /// that goes on empties the queue for a while, and what had kept it is still the cause.
    pub fn examined(&mut self, state: Arc<OwnerState>) {
        if !state.hindrances().is_empty() {
            self.owner_hindered = Some(Arc::clone(&state));
        }
        self.owner_state = Some(state);
    }

    /// Iterates over the counts by the process name they were charged under; the sum is [`Self::counts`].
    pub fn by_name(&self) -> impl Iterator<Item = (&str, Counts)> {
        let earlier = self.earlier.iter().map(|(name, counts)| (&**name, *counts));
        earlier.chain([(&*self.process, self.under_this_name())])
    }

    fn under_this_name(&self) -> Counts {
        self.earlier.iter().fold(self.counts, |rest, (_, earlier)| rest.less(earlier))
    }
}

/// State of everything at one moment.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// Time at which the snapshot was taken.
    pub taken: Timestamp,
    /// Time since which netqueue has been counting.
    pub attached: Timestamp,
    /// Network namespace of PID 1.
    pub host: Netns,
    /// Every listener, and every account ever charged, in the order in which they were first met. Accounts
    /// that ended long ago are part of [`AccountKey::Gone`].
    // Each account is shared with the next snapshot until it changes.
    pub accounts: Arc<[Arc<AccountView>]>,
    /// Newest events.
    pub events: EventLog,
    /// Every namespace found or charged, with the kernel's counters against what is attributed.
    pub namespaces: Arc<BTreeMap<Netns, NamespaceView>>,
    /// Cost of the search for namespaces.
    pub search: SearchCost,
    /// Report of netqueue on its own state.
    pub health: Health,
    /// Sudden rises of drops that go on, and the newest of those that are over; oldest first.
    pub spikes: Arc<[Spike]>,
    /// Recent charges and traffic of every account, over time.
    pub recent: Windows,
    /// Recent movement of the kernel counters that netqueue does not attribute.
    pub beside: Beside,
    /// State of the event log on disk, if there is one.
    pub journal: Option<JournalState>,
    /// Inferred idle time-outs of the servers whose clients lose the keep-alive race.
    pub idle_limits: Arc<IdleLimits>,
    /// Wall clock on which every time in the snapshot is shown.
    pub wall_clock: WallClock,
}

impl Snapshot {
    /// Returns the account that was charged under `key`.
    #[must_use]
    pub fn account(&self, key: &AccountKey) -> Option<&AccountView> {
        self.accounts.iter().map(|account| &**account).find(|account| account.key == *key)
    }

    /// Returns whether the namespace of PID 1 is the host's rather than a container's.
    #[must_use]
    pub fn sees_host(&self) -> bool {
        self.netns_name(self.host) == "host"
    }

    /// Returns the name of a namespace, `host` for the host's. Others have their own name, their
    /// container's, or their inode number and generation; the latter also for one that ended long ago.
    #[must_use]
    pub fn netns_name(&self, netns: Netns) -> String {
        match self.namespaces.get(&netns) {
            Some(namespace) => namespace.name.to_string(),
            None if netns == self.host => "host".to_owned(),
            None => netns.to_string(),
        }
    }

    /// Iterates over the comparisons, the host's first.
    pub fn balances(&self) -> impl Iterator<Item = &NamespaceBalance> {
        let (host, others): (Vec<_>, Vec<_>) =
            self.namespaces.values().partition(|namespace| namespace.netns == self.host);
        host.into_iter().chain(others).filter_map(|namespace| namespace.balance.as_ref())
    }
}
