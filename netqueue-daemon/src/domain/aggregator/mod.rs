//! What was observed, put together. One task owns it, tells it the time, and publishes its snapshots.

mod folding;
mod told;

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use serde::{Deserialize, Serialize};

use super::{
    AccountId, AccountKey, AccountView, Bracket, Counts, Event, EventLog, Farewell, Health, Keep,
    NamespaceBalance, NamespaceNews, Netns, Peak, Peaks, PerCounter, QueueState, Queues, Recent, Reconciler,
    SearchCost, Sensitivity, Snapshot, SocketInode, SpikeDetector, SpikeNotice, Timestamp, Traffic,
    TrafficReading, namespaces::Namespaces, places::Places,
};

/// What an [`Aggregator`] is set to.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// The namespace of PID 1.
    pub host: Netns,
    /// How many of the newest events are kept.
    pub event_capacity: usize,
    /// How many addresses and ports the metrics tell apart.
    pub max_series: usize,
    /// How long what is over is kept apart.
    pub keep: Keep,
}

impl Settings {
    /// What is usual.
    #[must_use]
    pub fn of(host: Netns) -> Self {
        Self { host, event_capacity: 16_384, max_series: 2000, keep: Keep::default() }
    }
}

/// Of a namespace whose counters at attach nobody knows.
const UNSEEN: &str = "it was there when netqueue attached, and ended before it was found";

/// Accounts, events and balances.
#[derive(Debug)]
pub struct Aggregator {
    settings: Settings,
    attached: Timestamp,
    pub(super) accounts: Vec<AccountView>,
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
    spikes: SpikeDetector,
    recent: Recent,
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
            events: EventLog::new(settings.event_capacity),
            reconciler: Reconciler::default(),
            namespaces: Namespaces::new(settings.host, attached),
            search: SearchCost::default(),
            health: Health::default(),
            spikes: SpikeDetector::new(Sensitivity::default()),
            recent: Recent::default(),
        }
    }

    /// An event arrived. It tells what happened and how full the queues were; it never counts, nor opens an account:
    /// accounts are bounded by the kernel side's maps, events are not.
    pub fn observe(&mut self, event: Event) {
        if let Some(account) = self.index.get(&event.account).and_then(|index| self.accounts.get_mut(*index))
        {
            account.first_seen = account.first_seen.min(event.time);
            account.last_seen = account.last_seen.max(event.time);
            if event.queues != Queues::default() {
                account.queues = event.queues;
                self.peaks.entry(account.id).or_default().observe(event.queues, event.time);
            }
        }
        self.spikes.observe(&event);
        self.events.append(event);
    }

    /// The kernel side's exact counts were read: of every slot that is somebody's. An account may have two, and one that
    /// has none any more keeps what it had.
    pub fn count(&mut self, readings: impl IntoIterator<Item = (AccountKey, Counts)>, now: Timestamp) {
        // Only what is no listener can have had a slot before: no two listeners are one account.
        let mut shared: Vec<(AccountKey, Counts)> = Vec::new();
        let mut place: HashMap<AccountKey, usize> = HashMap::new();
        for (key, counts) in readings {
            if matches!(key, AccountKey::Listener { .. }) {
                self.set(key, counts, now).over = None;
                continue;
            }
            match place.get(&key).and_then(|index| shared.get_mut(*index)) {
                Some((_, sum)) => sum.add(&counts),
                None => {
                    place.insert(key, shared.len());
                    let mut sum = self.settled.get(&key).copied().unwrap_or_default();
                    sum.add(&counts);
                    shared.push((key, sum));
                }
            }
        }
        for (key, counts) in shared {
            self.set(key, counts, now).over = None;
        }
    }

    fn set(&mut self, key: AccountKey, counts: Counts, now: Timestamp) -> &mut AccountView {
        let account = self.account(key, now);
        if account.counts != counts {
            account.counts = counts;
            account.last_seen = account.last_seen.max(now);
        }
        account
    }

    /// A slot was given back with these counts: no later reading has them.
    pub fn settle(&mut self, key: AccountKey, counts: Counts, now: Timestamp) {
        if matches!(key, AccountKey::Listener { .. }) {
            // Nothing else was or will be charged to it.
            self.set(key, counts, now).over = Some(0);
            return;
        }
        let settled = self.settled.entry(key).or_default();
        settled.add(&counts);
        let settled = *settled;
        // Where there is more, it has another slot already.
        let account = self.account(key, now);
        if account.counts.within(&settled) {
            self.set(key, settled, now).over = Some(0);
        }
    }

    /// Listeners are closed.
    pub fn close(&mut self, closed: impl IntoIterator<Item = (AccountKey, Timestamp)>) {
        for (key, at) in closed {
            if let Some(account) = self.index.get(&key).and_then(|index| self.accounts.get_mut(*index)) {
                account.closed.get_or_insert(at);
            }
        }
    }

    /// The kernel side's traffic was read. Accounts that nothing is charged to are opened by it, too.
    pub fn flow(&mut self, readings: impl IntoIterator<Item = (AccountKey, TrafficReading)>, now: Timestamp) {
        for (key, TrafficReading { counts, accept_peak, queues }) in readings {
            let id = self.account(key, now).id;
            let peaks = self.peaks.entry(id).or_default();
            peaks.accept.observe(accept_peak, now);
            peaks.observe(queues, now);
            let (accept_peak, syn_peak) = peaks.now(now);
            let traffic = Traffic { accept_peak, syn_peak, ..counts };
            let account = self.account(key, now);
            if account.traffic.established != traffic.established {
                account.last_seen = account.last_seen.max(now);
            }
            if queues != Queues::default() {
                account.queues = queues;
            }
            if *account.traffic != traffic {
                account.traffic = Arc::new(traffic);
            }
        }
    }

    /// The metrics page was made from the last snapshot: peaks since the last scrape begin anew.
    pub fn scraped(&mut self) {
        self.peaks.values_mut().for_each(|peaks| {
            peaks.accept.scraped();
            peaks.syn.scraped();
        });
        for account in &mut self.accounts {
            account.over = account.over.map(|scrapes| scrapes.saturating_add(1));
        }
        self.namespaces.scraped();
    }

    /// Takes the state from which a namespace's counters are compared; see [`Reconciler::set_baseline`].
    pub fn set_baseline(&mut self, netns: Netns, bracket: &Bracket) {
        self.reconciler.set_baseline(netns, bracket);
    }

    /// Compares a namespace's counters.
    pub fn reconcile(&mut self, netns: Netns, bracket: &Bracket, now: Timestamp) {
        self.namespaces.know(netns, now);
        let balance = self.reconciler.compare(netns, bracket, now);
        self.namespaces.compared(balance);
    }

    /// A namespace's balance as compared last.
    #[must_use]
    pub fn balance(&self, netns: Netns) -> Option<&NamespaceBalance> {
        self.namespaces.balance(netns)
    }

    /// Why a namespace is not compared, where a reason was told.
    #[must_use]
    pub fn why_not_compared(&self, netns: Netns) -> Option<&str> {
        self.namespaces.why_not(netns)
    }

    /// Namespaces that are known and may end.
    pub fn living_namespaces(&self) -> impl Iterator<Item = Netns> + '_ {
        self.namespaces.living()
    }

    fn hear(&mut self, news: NamespaceNews, now: Timestamp) {
        let NamespaceNews { found, farewells, ended, not_compared, search } = news;
        found.into_iter().for_each(|(netns, name)| self.namespaces.found(netns, name, now));
        farewells.iter().for_each(|(farewell, charged)| self.take_leave(farewell, *charged, now));
        ended.into_iter().for_each(|netns| self.namespaces.end(netns, now));
        not_compared.into_iter().for_each(|(netns, why)| self.namespaces.not_compared(netns, &why));
        self.search = search.unwrap_or(self.search);
    }

    /// A namespace ended, having been charged with this altogether: its last comparison. One in which nothing was ever
    /// counted, and which was not found either, leaves no trace.
    fn take_leave(&mut self, farewell: &Farewell, charged: PerCounter<u64>, now: Timestamp) {
        let Farewell { netns, kernel } = *farewell;
        if netns.generation > 0 && kernel != PerCounter::default() {
            self.namespaces.know(netns, now);
        }
        if netns.generation == 0 && !self.reconciler.knows(netns) {
            self.namespaces.not_compared(netns, UNSEEN);
        } else if self.namespaces.knows(netns) {
            let balance = self.reconciler.compare(netns, &Bracket::still(kernel, charged), now);
            self.namespaces.compared(NamespaceBalance { last: true, ..balance });
        }
        self.reconciler.forget(netns);
    }

    /// Whether anything was ever charged to this account, as far as was read.
    #[must_use]
    pub fn knows(&self, account: &AccountKey) -> bool {
        self.index.contains_key(account)
    }

    fn find(&self, account: &AccountKey) -> Option<&AccountView> {
        self.index.get(account).and_then(|index| self.accounts.get(*index))
    }

    /// Time has come to `now`, and [`Self::count`] was just told what there is. Returns what the outside should hear of.
    pub fn tick(&mut self, now: Timestamp) -> Vec<SpikeNotice> {
        self.fold(now);
        self.recent.tick(&self.accounts, now);
        // What took over others' counts rose at once by what had happened before.
        let keys: Vec<_> = self
            .accounts
            .iter()
            .map(|account| match account.predecessors {
                0 => account.key,
                _ => AccountKey::Gone(account.key.netns()),
            })
            .collect();
        let counts = self.accounts.iter().map(|account| &account.counts);
        self.spikes.tick(keys.iter().zip(counts), now)
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
        }
    }

    /// What is attributed to each namespace.
    fn charged(&self) -> BTreeMap<Netns, PerCounter<u64>> {
        let mut sums: BTreeMap<Netns, PerCounter<u64>> = BTreeMap::new();
        for account in &self.accounts {
            let sum = sums.entry(account.key.netns()).or_default();
            *sum = PerCounter::from_fn(|counter| sum.get(counter) + account.counts.kernel().get(counter));
        }
        sums
    }

    /// The account with its peaks as they are now: a window moves on though nothing happens.
    fn with_peaks(&self, account: &AccountView, now: Timestamp) -> AccountView {
        let mut account = account.clone();
        if let Some(peaks) = self.peaks.get(&account.id) {
            let (accept_peak, syn_peak) = peaks.now(now);
            if (account.traffic.accept_peak, account.traffic.syn_peak) != (accept_peak, syn_peak) {
                let traffic = Arc::make_mut(&mut account.traffic);
                (traffic.accept_peak, traffic.syn_peak) = (accept_peak, syn_peak);
            }
        }
        account
    }

    pub(super) fn account(&mut self, key: AccountKey, now: Timestamp) -> &mut AccountView {
        let index = self.open(key, now);
        &mut self.accounts[index]
    }

    /// The index of the account, a new one if there is none yet.
    fn open(&mut self, key: AccountKey, now: Timestamp) -> usize {
        let next = self.accounts.len();
        let index = *self.index.entry(key).or_insert(next);
        if index == next {
            self.namespaces.know(key.netns(), now);
            self.opened += 1;
            let account = AccountView::new(AccountId(self.opened), key, Arc::clone(&self.quiet), now);
            self.accounts.push(AccountView { apart: self.places.admit(&key), ..account });
        }
        index
    }
}

/// High-water marks of a listener's two queues.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct QueuePeaks {
    accept: Peaks,
    syn: Peaks,
}

impl QueuePeaks {
    fn observe(&mut self, queues: Queues, now: Timestamp) {
        let length = |queue: Option<QueueState>| queue.map_or(0, |queue| queue.length);
        self.accept.observe(length(queues.accept), now);
        self.syn.observe(length(queues.syn), now);
    }

    /// Of the accept queue and of the SYN queue.
    fn now(&self, now: Timestamp) -> (Peak, Peak) {
        let peak = |peaks: &Peaks| Peak { since_scrape: peaks.since_scrape(), window: peaks.in_window(now) };
        (peak(&self.accept), peak(&self.syn))
    }
}

#[cfg(test)]
mod tests;
