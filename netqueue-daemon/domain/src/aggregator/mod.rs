//! What was observed, put together. One task owns it, tells it the time, and publishes its snapshots.

mod charges;
mod compared;
mod flow;
mod folding;
mod idle;
mod past;
mod told;

use std::{collections::HashMap, sync::Arc};

pub use flow::QueuePeaks;
pub use idle::IdleLimits;

use super::{
    AccountId, AccountKey, AccountView, Counts, Event, EventLog, Health, Keep, Named, Netns, QueueState,
    Queues, Recent, Reconciler, SearchCost, Sensitivity, Snapshot, SocketInode, SpikeDetector, SpikeNotice,
    Timestamp, Traffic, WallClock, namespaces::Namespaces, places::Places,
};

/// What an [`Aggregator`] is set to.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// The namespace of PID 1.
    pub host: Netns,
    /// Whether that is the host's and not a container's.
    pub sees_host: bool,
    /// Bytes the newest events may take.
    pub event_memory: usize,
    /// Bytes the histories of all accounts may take.
    pub history_memory: usize,
    /// How many addresses and ports the metrics tell apart.
    pub max_series: usize,
    /// How long what is over is kept apart.
    pub keep: Keep,
}

impl Settings {
    /// What is usual.
    #[must_use]
    pub fn of(host: Netns) -> Self {
        Self {
            host,
            sees_host: true,
            event_memory: 16 << 20,
            history_memory: 32 << 20,
            max_series: 2000,
            keep: Keep::default(),
        }
    }
}

/// Accounts, events and balances.
#[derive(Debug)]
pub struct Aggregator {
    settings: Settings,
    attached: Timestamp,
    // Each is shared with the snapshots that show it as it is: whoever changes one copies it first, by [`Self::edit`].
    pub(super) accounts: Vec<Arc<AccountView>>,
    pub(super) index: HashMap<AccountKey, usize>,
    /// Accounts by the socket of the listener, as long as it lives.
    pub(super) by_socket: HashMap<SocketInode, usize>,
    /// Listeners that were found before anything was charged to them.
    pub(super) found: u64,
    opened: u64,
    places: Places,
    /// What slots had counted that were given back: of accounts that can get another.
    settled: HashMap<AccountKey, Counts>,
    peaks: HashMap<AccountId, QueuePeaks>,
    /// What an account shows that nothing went through.
    quiet: Arc<Traffic>,
    events: EventLog,
    reconciler: Reconciler,
    namespaces: Namespaces,
    search: SearchCost,
    health: Health,
    /// Bytes the histories take together.
    history_bytes: usize,
    spikes: SpikeDetector,
    recent: Recent,
    idle_limits: Arc<IdleLimits>,
    wall_clock: WallClock,
}

impl Aggregator {
    /// Nothing observed yet; counting since `attached`.
    #[must_use]
    pub fn new(settings: Settings, attached: Timestamp) -> Self {
        Self {
            settings,
            attached,
            accounts: Vec::new(),
            opened: 0,
            places: Places::new(settings.max_series),
            index: HashMap::new(),
            by_socket: HashMap::new(),
            found: 0,
            settled: HashMap::new(),
            peaks: HashMap::new(),
            quiet: Arc::default(),
            events: EventLog::new(settings.event_memory),
            reconciler: Reconciler::default(),
            namespaces: Namespaces::new(settings.host, settings.sees_host, attached),
            search: SearchCost::default(),
            health: Health::default(),
            history_bytes: 0,
            spikes: SpikeDetector::new(Sensitivity::default()),
            recent: Recent::default(),
            idle_limits: Arc::default(),
            wall_clock: WallClock::default(),
        }
    }

    /// The same with the events of earlier runs; numbers go on after theirs.
    #[must_use]
    pub fn with_past(self, events: EventLog) -> Self {
        Self { events, ..self }
    }

    /// The number of the newest event.
    #[must_use]
    pub const fn newest_event(&self) -> u64 {
        self.events.appended()
    }

    /// The wall clock as it is set.
    #[must_use]
    pub const fn wall_clock(&self) -> WallClock {
        self.wall_clock
    }

    /// How an account and its namespace are called now.
    #[must_use]
    pub fn named(&self, account: &AccountKey) -> Named {
        let process = self.find(account).map_or_else(|| Arc::from(""), |view| Arc::clone(&view.process));
        Named { process, netns: self.namespaces.name(account.netns()) }
    }

    /// An event arrived. It tells what happened and how full the queues were; it never counts, nor opens an account:
    /// accounts are bounded by the kernel side's maps, events are not.
    pub fn observe(&mut self, event: Event) {
        if let Some(index) = self.index.get(&event.account).copied() {
            let account = self.edit(index);
            account.first_seen = account.first_seen.min(event.time);
            account.last_seen = account.last_seen.max(event.time);
            if event.queues != Queues::default() {
                account.queues = event.queues;
                let id = account.id;
                self.peaks.entry(id).or_default().observe(event.queues, event.time);
                self.remember_queues(index, event.queues, event.time);
            }
        }
        self.spikes.observe(&event);
        self.events.append(event);
    }

    /// Whether anything was ever charged to this account, as far as was read.
    #[must_use]
    pub fn knows(&self, account: &AccountKey) -> bool {
        self.index.contains_key(account)
    }

    fn find(&self, account: &AccountKey) -> Option<&AccountView> {
        self.index.get(account).and_then(|index| self.accounts.get(*index)).map(|account| &**account)
    }

    /// The account at this place, to be changed: snapshots keep what they show.
    pub(super) fn edit(&mut self, index: usize) -> &mut AccountView {
        Arc::make_mut(&mut self.accounts[index])
    }

    /// Time has come to `now`, and [`Self::count`] was just told what there is. Returns what the outside should hear of.
    pub fn tick(&mut self, now: Timestamp) -> Vec<SpikeNotice> {
        self.fold(now);
        self.recent.tick(&self.accounts, now);
        // What takes over others' counts rises at once by what had happened before.
        let told = self.accounts.iter().filter(|account| !self.namespaces.is_joined(account.key.netns()));
        let told: Vec<_> = told
            .map(|account| match account.predecessors {
                0 => (account.key, &account.counts),
                _ => (AccountKey::Gone(account.key.netns()), &account.counts),
            })
            .collect();
        self.spikes.tick(told.iter().map(|(key, counts)| (key, *counts)), now)
    }

    /// What netqueue knows about itself was read.
    pub fn set_health(&mut self, health: Health) {
        self.health = health;
    }

    /// A picture of everything.
    #[must_use]
    pub fn snapshot(&self, now: Timestamp) -> Snapshot {
        Snapshot {
            taken: now,
            attached: self.attached,
            host: self.settings.host,
            accounts: self.accounts.iter().map(|account| self.with_peaks(account, now)).collect(),
            events: self.events.clone(),
            namespaces: self.namespaces.views(&self.charged()).into(),
            search: self.search,
            health: self.health.clone(),
            spikes: self.spikes.spikes().into(),
            recent: self.recent.clone(),
            journal: None,
            idle_limits: Arc::clone(&self.idle_limits),
            wall_clock: self.wall_clock,
        }
    }

    pub(super) fn account(&mut self, key: AccountKey, now: Timestamp) -> &mut AccountView {
        let index = self.open(key, now);
        self.edit(index)
    }

    /// The index of the account, a new one if there is none yet.
    fn open(&mut self, key: AccountKey, now: Timestamp) -> usize {
        let next = self.accounts.len();
        let index = *self.index.entry(key).or_insert(next);
        if index == next {
            self.namespaces.know(key.netns(), now);
            self.opened += 1;
            let account = AccountView::new(AccountId(self.opened), key, Arc::clone(&self.quiet), now);
            self.accounts.push(Arc::new(AccountView { apart: self.places.admit(&key), ..account }));
        }
        index
    }
}

#[cfg(test)]
mod tests;
