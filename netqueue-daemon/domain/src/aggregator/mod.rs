//! Aggregator, which builds accounts, events and balances from observations. One task owns it, passes
//! it the time, and publishes its snapshots.

mod charges;
mod compared;
mod folding;
mod idle;
mod observations;
mod past;
mod traffic;

use std::{collections::HashMap, sync::Arc};

pub use idle::IdleLimits;
pub use traffic::QueuePeaks;

use super::{
    AccountId, AccountKey, AccountView, Beside, Counts, Event, EventLog, Health, Keep, LateData, Named,
    Netns, QueueState, Queues, Reconciler, SearchCost, Sensitivity, Snapshot, SocketInode, SpikeDetector,
    SpikeNotice, Timestamp, Traffic, WallClock, Windows, namespaces::Namespaces, series_budget::SeriesBudget,
};

/// Settings of an [`Aggregator`].
#[derive(Clone, Copy, Debug)]
pub struct AggregatorSettings {
    /// Network namespace of PID 1.
    pub host: Netns,
    /// True if `host` is the host's namespace rather than a container's.
    pub sees_host: bool,
    /// Memory limit of the newest events, in bytes.
    pub event_memory: usize,
    /// Memory limit of all accounts' histories together, in bytes.
    pub history_memory: usize,
    /// Maximum number of addresses and ports with metric series of their own.
    pub max_series: usize,
    /// Retention of ended accounts and namespaces before they are merged.
    pub keep: Keep,
}

impl AggregatorSettings {
    /// Returns the default settings, with `host` as the namespace of PID 1.
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

/// Accounts, events and balances built from the observations so far.
#[derive(Debug)]
pub struct Aggregator {
    settings: AggregatorSettings,
    attached: Timestamp,
    // Snapshots share these views: a change goes through [`Self::edit`], which copies a shared one first.
    pub(super) accounts: Vec<Arc<AccountView>>,
    pub(super) index: HashMap<AccountKey, usize>,
    /// Indices of the accounts of living listeners, by socket.
    pub(super) by_socket: HashMap<SocketInode, usize>,
    /// Number of listeners that were found before anything was charged to them.
    pub(super) found: u64,
    opened: u64,
    places: SeriesBudget,
    /// Counts of slots that were given back, for accounts that can get another slot.
    settled: HashMap<AccountKey, Counts>,
    peaks: HashMap<AccountId, QueuePeaks>,
    /// Empty traffic, shared by all accounts that nothing went through.
    quiet: Arc<Traffic>,
    events: EventLog,
    reconciler: Reconciler,
    namespaces: Namespaces,
    search: SearchCost,
    health: Health,
    /// Size of all histories together, in bytes.
    history_bytes: usize,
    spikes: SpikeDetector,
    recent: Windows,
    beside: Beside,
    idle_limits: Arc<IdleLimits>,
    late_data: Vec<LateData>,
    wall_clock: WallClock,
}

impl Aggregator {
    /// Creates an aggregator without observations, which counts since `attached`.
    #[must_use]
    pub fn new(settings: AggregatorSettings, attached: Timestamp) -> Self {
        Self {
            settings,
            attached,
            accounts: Vec::new(),
            opened: 0,
            places: SeriesBudget::new(settings.max_series),
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
            recent: Windows::default(),
            beside: Beside::default(),
            idle_limits: Arc::default(),
            late_data: Vec::new(),
            wall_clock: WallClock::default(),
        }
    }

    /// Replaces the event log by one with the events of earlier runs; numbering continues after theirs.
    #[must_use]
    pub fn with_past(self, events: EventLog) -> Self {
        Self { events, ..self }
    }

    /// Returns the number of the newest event.
    #[must_use]
    pub const fn newest_event(&self) -> u64 {
        self.events.appended()
    }

    /// Returns the wall clock as it is set now.
    #[must_use]
    pub const fn wall_clock(&self) -> WallClock {
        self.wall_clock
    }

    /// Returns the current names of an account's process and namespace.
    #[must_use]
    pub fn named(&self, account: &AccountKey) -> Named {
        let process = self.find(account).map_or_else(|| Arc::from(""), |view| Arc::clone(&view.process));
        Named { process, netns: self.namespaces.name(account.netns()) }
    }

    /// Takes in an event, which updates times and queue lengths but neither counts nor opens accounts. The
    /// kernel side's maps bound the number of accounts; nothing bounds the accounts that events name.
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
        self.remember_late_data(&event);
        self.spikes.observe(&event);
        self.events.append(event);
    }

    /// Returns whether the account has been opened: by a charge, by traffic, or by the inventory.
    #[must_use]
    pub fn knows(&self, account: &AccountKey) -> bool {
        self.index.contains_key(account)
    }

    fn find(&self, account: &AccountKey) -> Option<&AccountView> {
        self.index.get(account).and_then(|index| self.accounts.get(*index)).map(|account| &**account)
    }

    /// Returns the account at `index` for modification, copied first if a snapshot shares it.
    pub(super) fn edit(&mut self, index: usize) -> &mut AccountView {
        Arc::make_mut(&mut self.accounts[index])
    }

    /// Advances to `now`, right after [`Self::count`] took in the current counts. Returns the notices of
    /// spikes that began or ended.
    pub fn tick(&mut self, now: Timestamp) -> Vec<SpikeNotice> {
        self.fold(now);
        self.recent.tick(&self.accounts, now);
        self.beside.tick(now);
        // An account that takes over others' counts rises at once by what happened long before.
        let told = self.accounts.iter().filter(|account| !self.namespaces.is_joined(account.key.netns()));
        let told: Vec<_> = told
            .map(|account| match account.predecessors {
                0 => (account.key, &account.counts),
                _ => (AccountKey::Gone(account.key.netns()), &account.counts),
            })
            .collect();
        self.spikes.tick(told.iter().map(|(key, counts)| (key, *counts)), now)
    }

    /// Takes in netqueue's report on its own state.
    pub fn set_health(&mut self, health: Health) {
        self.health = health;
    }

    /// Returns an immutable snapshot of the whole state.
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
            beside: self.beside.clone(),
            journal: None,
            idle_limits: Arc::clone(&self.idle_limits),
            wall_clock: self.wall_clock,
        }
    }

    pub(super) fn account(&mut self, key: AccountKey, now: Timestamp) -> &mut AccountView {
        let index = self.open(key, now);
        self.edit(index)
    }

    /// Returns the index of the account, which is opened if it does not exist yet.
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
