//! What was observed, put together. One task owns it, tells it the time, and publishes its snapshots.

use std::{collections::HashMap, sync::Arc};

use super::{
    AccountId, AccountKey, AccountView, Bracket, Counts, Event, EventLog, Health, Keep, NamespaceBalance,
    Netns, Peak, Peaks, QueueState, Queues, Reconciler, Sensitivity, Snapshot, SocketInode, SpikeDetector,
    SpikeNotice, Timestamp, Traffic, TrafficReading,
    gone::{self, Life},
    places::Places,
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
    /// Of each account, at the same index.
    lives: Vec<Life>,
    opened: u64,
    readings: u64,
    places: Places,
    /// What slots had counted that were given back: of accounts that can get another.
    settled: HashMap<AccountKey, Counts>,
    peaks: HashMap<AccountId, QueuePeaks>,
    /// What an account shows that nothing went through.
    quiet: Arc<Traffic>,
    events: EventLog,
    reconciler: Reconciler,
    balances: Vec<NamespaceBalance>,
    health: Health,
    spikes: SpikeDetector,
}

impl Aggregator {
    /// Nothing observed yet; counting since `attached`.
    #[must_use]
    pub fn new(settings: Settings, attached: Timestamp) -> Self {
        Self {
            settings,
            attached,
            accounts: Vec::new(),
            lives: Vec::new(),
            opened: 0,
            readings: 0,
            places: Places::new(settings.max_series),
            index: HashMap::new(),
            by_socket: HashMap::new(),
            found: 0,
            settled: HashMap::new(),
            peaks: HashMap::new(),
            quiet: Arc::default(),
            events: EventLog::new(settings.event_capacity),
            reconciler: Reconciler::default(),
            balances: Vec::new(),
            health: Health::default(),
            spikes: SpikeDetector::new(Sensitivity::default()),
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
        self.readings += 1;
        // Only what is no listener can have had a slot before: no two listeners are one account.
        let mut shared: Vec<(AccountKey, Counts)> = Vec::new();
        let mut place: HashMap<AccountKey, usize> = HashMap::new();
        for (key, counts) in readings {
            if matches!(key, AccountKey::Listener { .. }) {
                let index = self.set(key, counts, now);
                self.lives[index] = Life::seen(self.readings);
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
            let index = self.set(key, counts, now);
            self.lives[index] = Life::seen(self.readings);
        }
        let slotless: Vec<_> = self
            .settled
            .iter()
            .filter(|(key, _)| !place.contains_key(key))
            .map(|(key, counts)| (*key, *counts))
            .collect();
        for (key, counts) in slotless {
            self.set(key, counts, now);
        }
    }

    fn set(&mut self, key: AccountKey, counts: Counts, now: Timestamp) -> usize {
        let index = self.open(key, now);
        let account = &mut self.accounts[index];
        if account.counts != counts {
            account.counts = counts;
            account.last_seen = account.last_seen.max(now);
        }
        index
    }

    /// A slot was given back with these counts: no later reading has them.
    pub fn settle(&mut self, key: AccountKey, counts: Counts, now: Timestamp) {
        if matches!(key, AccountKey::Listener { .. }) {
            // Nothing else was or will be charged to it.
            self.set(key, counts, now);
        } else {
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
        self.lives.iter_mut().for_each(|life| life.scraped(self.readings));
    }

    /// Takes the state from which a namespace's counters are compared; see [`Reconciler::set_baseline`].
    pub fn set_baseline(&mut self, netns: Netns, bracket: &Bracket) -> bool {
        self.reconciler.set_baseline(netns, bracket)
    }

    /// Whether anything was ever charged to this account, as far as was read.
    #[must_use]
    pub fn knows(&self, account: &AccountKey) -> bool {
        self.index.contains_key(account)
    }

    /// Compares a namespace's counters; `None` before its baseline was taken.
    pub fn reconcile(&mut self, netns: Netns, bracket: &Bracket) -> Option<NamespaceBalance> {
        let balance = self.reconciler.balance(netns, bracket)?;
        match self.balances.iter_mut().find(|known| known.netns == netns) {
            Some(known) => *known = balance,
            None => self.balances.push(balance),
        }
        Some(balance)
    }

    /// Time has come to `now`, and [`Self::count`] was just told what there is. Returns what the outside should hear of.
    pub fn tick(&mut self, now: Timestamp) -> Vec<SpikeNotice> {
        self.fold(now);
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

    /// Puts together what is long over.
    fn fold(&mut self, now: Timestamp) {
        let over: Vec<_> = self.lives.iter().map(|life| life.over(self.readings)).collect();
        let moves = gone::fold(&self.accounts, &over, self.settings.keep, now);
        if moves.is_empty() {
            return;
        }
        for (from, into) in &moves {
            let left = self.accounts[*from].clone();
            self.settled.remove(&left.key);
            self.peaks.remove(&left.id);
            let into = match into {
                gone::Into::Account(index) => *index,
                gone::Into::Gone if left.apart => self.open(AccountKey::Gone(left.key.netns()), now),
                // It was part of that series, which must not fall.
                gone::Into::Gone => {
                    let other = AccountKey::Other(left.key.netns());
                    self.settle(other, left.counts, now);
                    self.open(other, now)
                }
            };
            gone::add(&mut self.accounts[into], &left);
        }
        let stays = |index: usize| !moves.contains_key(&index);
        self.by_socket.retain(|_, index| stays(*index));
        for index in self.by_socket.values_mut() {
            *index -= moves.range(..*index).count();
        }
        remove(&mut self.accounts, |index| moves.contains_key(&index));
        remove(&mut self.lives, |index| moves.contains_key(&index));
        self.places.keep(self.accounts.iter().filter(|account| account.apart).map(|account| &account.key));
        self.index = self.accounts.iter().enumerate().map(|(index, account)| (account.key, index)).collect();
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
            balances: self.balances.clone(),
            health: self.health.clone(),
            spikes: self.spikes.spikes().into(),
        }
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
            self.opened += 1;
            let account = AccountView::new(AccountId(self.opened), key, Arc::clone(&self.quiet), now);
            self.accounts.push(AccountView { apart: self.places.admit(&key), ..account });
            self.lives.push(Life::seen(self.readings));
        }
        index
    }
}

/// Removes the elements at some indices.
fn remove<T>(from: &mut Vec<T>, leaves: impl Fn(usize) -> bool) {
    let mut index = 0..;
    from.retain(|_| !index.next().is_some_and(&leaves));
}

/// High-water marks of a listener's two queues.
#[derive(Debug, Default)]
struct QueuePeaks {
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
mod tests {
    use std::net::Ipv4Addr;

    use super::*;
    use crate::domain::{DropKind, Endpoint, QueueState, SocketId, What};

    const HOST: Netns = Netns::at_attach(7);

    fn web(socket: u64) -> AccountKey {
        let at = Endpoint { netns: HOST, addr: Ipv4Addr::UNSPECIFIED.into(), port: 80 };
        AccountKey::Listener { socket: SocketId(socket), at }
    }

    fn syn_dropped(account: AccountKey, at: u64) -> Event {
        Event {
            time: Timestamp::from_nanos(at),
            account,
            local_port: 80,
            peer: None,
            what: What::Drop(DropKind::AcceptQueueFullSyn),
            kernel_reason: None,
            queues: Queues { accept: Some(QueueState { length: 2, limit: 1 }), syn: None },
            cpu: 0,
            age: None,
        }
    }

    fn drops(number: u64) -> Counts {
        Counts::from_fn(|kind| if kind == DropKind::AcceptQueueFullSyn { number } else { 0 }, |_| 0, |_| 0)
    }

    fn aggregator() -> Aggregator {
        Aggregator::new(Settings { event_capacity: 100, ..Settings::of(HOST) }, Timestamp::from_nanos(1))
    }

    #[test]
    fn lost_events_do_not_change_what_is_counted() {
        let mut queues = aggregator();
        queues.count([(web(1), drops(24))], Timestamp::from_nanos(20));
        queues.observe(syn_dropped(web(1), 10));
        let snapshot = queues.snapshot(Timestamp::from_nanos(30));
        let account = snapshot.account(&web(1)).expect("it was charged");
        assert_eq!(account.counts.drop_total(), 24);
        assert_eq!(account.queues.accept, Some(QueueState { length: 2, limit: 1 }));
        assert_eq!(
            (account.first_seen, account.last_seen),
            (Timestamp::from_nanos(10), Timestamp::from_nanos(20))
        );
    }

    #[test]
    fn a_queue_that_was_long_for_a_moment_is_remembered_when_it_is_empty_again() {
        let mut queues = aggregator();
        let seconds = |n: u64| Timestamp::from_nanos(n * 1_000_000_000);
        let reading = |peak, length| TrafficReading {
            counts: Traffic { established: 129, ..Traffic::default() },
            accept_peak: peak,
            queues: Queues { accept: Some(QueueState { length, limit: 128 }), syn: None },
        };
        queues.flow([(web(1), reading(129, 0))], seconds(10));
        queues.flow([(web(1), reading(0, 0))], seconds(11));
        let peak = |queues: &Aggregator, at| {
            queues.snapshot(seconds(at)).account(&web(1)).map(|account| account.traffic.accept_peak)
        };
        assert_eq!(peak(&queues, 11), Some(Peak { since_scrape: 129, window: 129 }));
        queues.scraped();
        assert_eq!(peak(&queues, 12), Some(Peak { since_scrape: 0, window: 129 }));
        assert_eq!(peak(&queues, 71), Some(Peak { since_scrape: 0, window: 0 }));
    }

    #[test]
    fn a_listener_opened_again_on_its_port_is_another_and_the_dead_one_stays() {
        let mut queues = aggregator();
        queues.count([(web(1), drops(5))], Timestamp::from_nanos(10));
        queues.count([(web(2), drops(3))], Timestamp::from_nanos(20));
        let snapshot = queues.snapshot(Timestamp::from_nanos(30));
        let mine: Vec<_> = snapshot.accounts.iter().map(|a| (a.id.0, a.counts.drop_total())).collect();
        assert_eq!(mine, [(1, 5), (2, 3)]);
    }

    #[test]
    fn an_endpoint_whose_slot_was_given_back_goes_on_where_it_was() {
        let scanned =
            AccountKey::Endpoint(Endpoint { netns: HOST, addr: Ipv4Addr::LOCALHOST.into(), port: 81 });
        let at = Timestamp::from_nanos;
        let mut queues = aggregator();
        let seen = |queues: &Aggregator| {
            let snapshot = queues.snapshot(at(99));
            snapshot.account(&scanned).map_or(0, |account| account.counts.drop_total())
        };
        queues.count([(scanned, drops(7))], at(10));
        // A packet came while its slot was on the way back: it has two for a while.
        queues.count([(scanned, drops(1)), (scanned, drops(7))], at(20));
        assert_eq!(seen(&queues), 8);
        queues.settle(scanned, drops(7), at(25));
        queues.count([(scanned, drops(2))], at(30));
        assert_eq!(seen(&queues), 9);
        queues.settle(scanned, drops(2), at(25));
        queues.count([], at(40));
        assert_eq!(seen(&queues), 9);
    }

    #[test]
    fn what_a_listener_was_charged_after_the_last_look_is_not_lost_with_its_slot() {
        let mut queues = aggregator();
        queues.count([(web(1), drops(5))], Timestamp::from_nanos(10));
        queues.settle(web(1), drops(6), Timestamp::from_nanos(20));
        queues.count([], Timestamp::from_nanos(30));
        let snapshot = queues.snapshot(Timestamp::from_nanos(40));
        assert_eq!(snapshot.account(&web(1)).map(|account| account.counts.drop_total()), Some(6));
    }

    #[test]
    fn a_snapshot_does_not_change_afterwards() {
        let mut queues = aggregator();
        queues.count([(web(1), drops(1))], Timestamp::from_nanos(10));
        queues.observe(syn_dropped(web(1), 10));
        let before = queues.snapshot(Timestamp::from_nanos(15));
        queues.count([(web(2), drops(1))], Timestamp::from_nanos(20));
        queues.observe(syn_dropped(web(2), 20));
        assert_eq!((before.accounts.len(), before.events.len()), (1, 1));
    }
}
