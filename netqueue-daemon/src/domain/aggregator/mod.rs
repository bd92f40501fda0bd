//! What was observed, put together. One task owns it, tells it the time, and publishes its snapshots.

mod idle;
mod past;
mod told;

pub use idle::IdleLimits;

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use serde::{Deserialize, Serialize};

use super::{
    AccountId, AccountKey, AccountView, Bracket, Counts, Event, EventLog, Farewell, Health, Named,
    NamespaceBalance, NamespaceNews, Netns, Peak, Peaks, PerCounter, QueueState, Queues, Recent, Reconciler,
    SearchCost, Sensitivity, Snapshot, SocketInode, SpikeDetector, SpikeNotice, Timestamp, Traffic,
    TrafficReading, namespaces::Namespaces,
};

/// What an [`Aggregator`] is set to.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// The namespace of PID 1.
    pub host: Netns,
    /// Bytes the newest events may take.
    pub event_memory: usize,
    /// Bytes the histories of all accounts may take.
    pub history_memory: usize,
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
}

impl Aggregator {
    /// Nothing observed yet; counting since `attached`.
    #[must_use]
    pub fn new(settings: Settings, attached: Timestamp) -> Self {
        Self {
            settings,
            attached,
            accounts: Vec::new(),
            index: HashMap::new(),
            by_socket: HashMap::new(),
            found: 0,
            settled: HashMap::new(),
            peaks: HashMap::new(),
            quiet: Arc::default(),
            events: EventLog::new(settings.event_memory),
            reconciler: Reconciler::default(),
            namespaces: Namespaces::new(settings.host, attached),
            search: SearchCost::default(),
            health: Health::default(),
            history_bytes: 0,
            spikes: SpikeDetector::new(Sensitivity::default()),
            recent: Recent::default(),
            idle_limits: Arc::default(),
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

    /// How an account and its namespace are called now.
    #[must_use]
    pub fn named(&self, account: &AccountKey) -> Named {
        let process = self.find(account).map_or_else(|| Arc::from(""), |view| Arc::clone(&view.process));
        Named { process, netns: self.namespaces.name(account.netns()) }
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
                self.remember_queues(&event.account, event.queues, event.time);
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
                self.set(key, counts, now);
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
        shared.into_iter().for_each(|(key, counts)| self.set(key, counts, now));
    }

    fn set(&mut self, key: AccountKey, counts: Counts, now: Timestamp) {
        let account = self.account(key, now);
        if account.counts != counts {
            let before = std::mem::replace(&mut account.counts, counts);
            account.last_seen = account.last_seen.max(now);
            self.remember_charges(&key, &before, &counts, now);
        }
    }

    /// A slot was given back with these counts: no later reading has them.
    pub fn settle(&mut self, key: AccountKey, counts: Counts) {
        if !matches!(key, AccountKey::Listener { .. }) {
            self.settled.entry(key).or_default().add(&counts);
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
        for (key, TrafficReading { counts, accept_peak: accept_longest, queues }) in readings {
            let id = self.account(key, now).id;
            let peaks = self.peaks.entry(id).or_default();
            peaks.accept.observe(accept_longest, now);
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
            let before = Arc::clone(&account.traffic);
            if *before != traffic {
                account.traffic = Arc::new(traffic.clone());
            }
            self.remember_traffic(&key, (&before, &traffic), queues, accept_longest, now);
        }
    }

    /// The metrics page was made from the last snapshot: peaks since the last scrape begin anew.
    pub fn scraped(&mut self) {
        self.peaks.values_mut().for_each(|peaks| {
            peaks.accept.scraped();
            peaks.syn.scraped();
        });
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
        self.recent.tick(&self.accounts, now);
        self.spikes.tick(self.accounts.iter().map(|account| (&account.key, &account.counts)), now)
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
        let next = self.accounts.len();
        let index = *self.index.entry(key).or_insert(next);
        if index == next {
            self.namespaces.know(key.netns(), now);
            let id = AccountId(next as u64 + 1);
            self.accounts.push(AccountView::new(id, key, Arc::clone(&self.quiet), now));
        }
        &mut self.accounts[index]
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
