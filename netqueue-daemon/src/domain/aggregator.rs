//! What was observed, put together. One task owns it, tells it the time, and publishes its snapshots.

use std::collections::{BTreeMap, HashMap};

use super::{
    AccountId, AccountKey, AccountView, Compared, Counts, Event, EventLog, Health, Life, Netns, PerCounter,
    Queues, Reconciler, Sample, SearchCost, Snapshot, Timestamp, namespaces::Namespaces,
};

/// What an [`Aggregator`] is set to.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// The namespace of PID 1.
    pub host: Netns,
    /// How many of the newest events are kept.
    pub event_capacity: usize,
}

/// Accounts, events and balances.
#[derive(Debug)]
pub struct Aggregator {
    settings: Settings,
    attached: Timestamp,
    /// In the order of first charge.
    accounts: BTreeMap<AccountId, AccountView>,
    /// Those of living namespaces.
    index: HashMap<AccountKey, AccountId>,
    /// What accounts had been charged when their namespace died: the kernel side counts on under the same key.
    bases: HashMap<AccountKey, Counts>,
    last_account: u64,
    events: EventLog,
    reconciler: Reconciler,
    namespaces: Namespaces,
    search: SearchCost,
    health: Health,
}

impl Aggregator {
    /// Nothing observed yet; counting since `attached`.
    #[must_use]
    pub fn new(settings: Settings, attached: Timestamp) -> Self {
        let mut namespaces = Namespaces::new(settings.host);
        namespaces.found(settings.host, None, attached);
        Self {
            settings,
            attached,
            accounts: BTreeMap::new(),
            index: HashMap::new(),
            bases: HashMap::new(),
            last_account: 0,
            events: EventLog::new(settings.event_capacity),
            reconciler: Reconciler::default(),
            namespaces,
            search: SearchCost::default(),
            health: Health::default(),
        }
    }

    /// An event arrived. It tells what happened and how full the queues were; it never counts, nor opens an account:
    /// accounts are bounded by the kernel side's maps, events are not.
    pub fn observe(&mut self, event: Event) {
        if let Some(account) = self.index.get(&event.account).and_then(|id| self.accounts.get_mut(id)) {
            account.first_seen = account.first_seen.min(event.time);
            account.last_seen = account.last_seen.max(event.time);
            if event.queues != Queues::default() {
                account.queues = event.queues;
            }
        }
        self.events.append(event);
    }

    /// The kernel side's exact counts were read. An account that is no longer there keeps what it had.
    pub fn count(&mut self, readings: impl IntoIterator<Item = (AccountKey, Counts)>, now: Timestamp) {
        for (key, total) in readings {
            let counts = self.bases.get(&key).map_or(total, |base| total.since(base));
            // An account of a dead namespace that nobody charges any more is no new one.
            if counts == Counts::default() && self.bases.contains_key(&key) {
                continue;
            }
            let account = self.account(key, now);
            if account.counts != counts {
                account.counts = counts;
                account.last_seen = account.last_seen.max(now);
            }
        }
    }

    /// Whether anything was ever charged to this account, as far as was read.
    #[must_use]
    pub fn knows(&self, account: &AccountKey) -> bool {
        self.index.contains_key(account)
    }

    /// A namespace was found, under this name if it has one. What was charged to its number since the last one that
    /// had it died is its own.
    pub fn found(&mut self, netns: Netns, name: Option<std::sync::Arc<str>>, now: Timestamp) {
        if let Some(before) = self.namespaces.found(netns, name, now) {
            self.pass_on(netns, before, None, now);
        }
    }

    /// Nothing refers to a namespace any more; so much was attributed to its number by now.
    pub fn gone(&mut self, netns: Netns, attributed: PerCounter<u64>, now: Timestamp) {
        if let Some(life) = self.namespaces.end(netns, now) {
            self.reconciler.end(netns, attributed);
            self.retire(|account| account.life == life);
        }
    }

    /// Takes the state from which a namespace's counters are compared; see [`Reconciler::set_baseline`].
    pub fn set_baseline(&mut self, netns: Netns, sample: &Sample, now: Timestamp) -> bool {
        self.namespaces.of(netns, now);
        self.reconciler.set_baseline(netns, sample, now)
    }

    /// Compares a namespace's counters; see [`Reconciler::compare`]. Returns whether nothing seems to be under way.
    pub fn reconcile(&mut self, netns: Netns, sample: &Sample, now: Timestamp) -> bool {
        let Compared { balance, settled, replaced } = self.reconciler.compare(netns, sample, now);
        if let Some(last_look) = replaced
            && let Some(before) = self.namespaces.replace(netns, now)
        {
            self.retire(|account| account.life == before && account.first_seen <= last_look);
            self.pass_on(netns, before, Some(last_look), now);
        }
        if let Some(balance) = balance {
            self.namespaces.set_balance(netns, balance, now);
        }
        settled
    }

    /// A page with everything in it was scraped.
    pub const fn scraped(&mut self) {
        self.namespaces.scraped();
    }

    /// Sums up what is left of namespaces that died some scrapes ago: totals never go backwards.
    pub fn fold(&mut self, now: Timestamp) {
        let lives = self.namespaces.fold(now);
        if lives.is_empty() {
            return;
        }
        self.retire(|account| lives.contains(&account.life));
        let mut sum = Counts::default();
        self.accounts.retain(|_, account| {
            let folded = lives.contains(&account.life);
            if folded {
                sum.add(&account.counts);
            }
            !folded
        });
        if sum != Counts::default() {
            self.namespaces.gone(now);
            let account = self.account(AccountKey::Other(Netns::GONE), now);
            account.counts.add(&sum);
            account.last_seen = now;
        }
    }

    /// What it costs to look for namespaces.
    pub const fn set_search_cost(&mut self, cost: SearchCost) {
        self.search = cost;
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
            accounts: self.accounts.values().cloned().collect(),
            events: self.events.clone(),
            namespaces: self.namespaces.views().cloned().collect(),
            search: self.search,
            health: self.health.clone(),
        }
    }

    /// Accounts of a number's last life that were first charged after `after` belong to its life now.
    fn pass_on(&mut self, netns: Netns, before: Life, after: Option<Timestamp>, now: Timestamp) {
        let life = self.namespaces.of(netns, now);
        for id in self.index.values() {
            if let Some(account) = self.accounts.get_mut(id)
                && account.life == before
                && after.is_none_or(|after| account.first_seen > after)
            {
                account.life = life;
            }
        }
    }

    /// Closes accounts: what is charged under their keys from now on is another's.
    fn retire(&mut self, closes: impl Fn(&AccountView) -> bool) {
        let Self { accounts, index, bases, .. } = self;
        index.retain(|key, id| {
            let Some(account) = accounts.get(id).filter(|account| closes(account)) else { return true };
            bases.entry(*key).or_default().add(&account.counts);
            false
        });
    }

    fn account(&mut self, key: AccountKey, now: Timestamp) -> &mut AccountView {
        let life = self.namespaces.of(key.netns(), now);
        let id = *self.index.entry(key).or_insert_with(|| {
            self.last_account += 1;
            AccountId(self.last_account)
        });
        self.accounts.entry(id).or_insert_with(|| AccountView {
            id,
            key,
            life,
            counts: Counts::default(),
            queues: Queues::default(),
            first_seen: now,
            last_seen: now,
        })
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;
    use crate::domain::{Bracket, DropKind, Endpoint, KernelCounter, Presence, QueueState, SocketId, What};

    const HOST: Netns = Netns(7);
    const POD: Netns = Netns(8);

    fn at(nanos: u64) -> Timestamp {
        Timestamp::from_nanos(nanos)
    }

    fn web(socket: u32) -> AccountKey {
        listener(HOST, socket)
    }

    fn in_pod(socket: u32) -> AccountKey {
        listener(POD, socket)
    }

    fn listener(netns: Netns, socket: u32) -> AccountKey {
        let at = Endpoint { netns, addr: Ipv4Addr::UNSPECIFIED.into(), port: 80 };
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
        Aggregator::new(Settings { host: HOST, event_capacity: 100 }, Timestamp::from_nanos(1))
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
    fn a_listener_opened_again_on_its_port_is_another_and_the_dead_one_stays() {
        let mut queues = aggregator();
        queues.count([(web(1), drops(5))], Timestamp::from_nanos(10));
        queues.count([(web(2), drops(3))], Timestamp::from_nanos(20));
        let snapshot = queues.snapshot(Timestamp::from_nanos(30));
        let mine: Vec<_> = snapshot.accounts.iter().map(|a| (a.id.0, a.counts.drop_total())).collect();
        assert_eq!(mine, [(1, 5), (2, 3)]);
    }

    fn sample(attributed: u64, kernel: u64) -> Sample {
        let all = |value| PerCounter::from_fn(|_| value);
        let bracket = Bracket { before: all(attributed), kernel: all(kernel), after: all(attributed) };
        Sample { bracket, last_try: true, ..Sample::default() }
    }

    fn shown(queues: &Aggregator) -> Vec<(String, u64)> {
        let snapshot = queues.snapshot(at(99));
        let name = |account: &AccountView| snapshot.netns_of(account).to_string();
        snapshot.accounts.iter().map(|account| (name(account), account.counts.drop_total())).collect()
    }

    fn balances(queues: &Aggregator) -> Vec<(String, u64)> {
        let snapshot = queues.snapshot(at(99));
        let compared = snapshot.namespaces.iter().filter_map(|namespace| {
            let drops = namespace.balance?.counters.get(KernelCounter::ListenDrops);
            Some((namespace.name.to_string(), drops.kernel))
        });
        compared.collect()
    }

    fn pod_with_5_drops(name: Option<&str>) -> Aggregator {
        let mut queues = aggregator();
        queues.found(POD, name.map(Into::into), at(5));
        queues.count([(in_pod(1), drops(5))], at(10));
        queues.reconcile(POD, &sample(5, 5), at(11));
        queues
    }

    fn named(pairs: &[(&str, u64)]) -> Vec<(String, u64)> {
        pairs.iter().map(|(name, number)| ((*name).to_owned(), *number)).collect()
    }

    #[test]
    fn a_dead_namespace_is_folded_after_two_scrapes_and_no_sum_goes_backwards() {
        let mut queues = pod_with_5_drops(Some("blue"));
        queues.count([(web(9), drops(1))], at(12));
        queues.scraped();
        queues.gone(POD, PerCounter::from_fn(|_| 5), at(20));
        for _ in 0..2 {
            queues.fold(at(21));
            assert_eq!(shown(&queues), named(&[("blue", 5), ("host", 1)]));
            assert_eq!(balances(&queues), named(&[("blue", 5)]));
            queues.scraped();
        }
        queues.fold(at(22));
        assert_eq!(shown(&queues), named(&[("host", 1), ("gone", 5)]));
        assert_eq!(balances(&queues), named(&[("gone", 5)]));

        // The kernel side goes on to say 5 under the dead one's key; a new namespace with its number adds 2.
        queues.count([(in_pod(1), drops(5))], at(23));
        assert_eq!(shown(&queues), named(&[("host", 1), ("gone", 5)]));
        queues.count([(in_pod(1), drops(7))], at(24));
        queues.found(POD, Some("green".into()), at(25));
        queues.reconcile(POD, &sample(7, 2), at(26));
        assert_eq!(shown(&queues), named(&[("host", 1), ("gone", 5), ("green", 2)]));
        assert_eq!(balances(&queues), named(&[("gone", 5), ("green", 2)]));
    }

    #[test]
    fn where_nobody_scrapes_the_dead_are_folded_after_ten_minutes() {
        let mut queues = pod_with_5_drops(None);
        queues.gone(POD, PerCounter::from_fn(|_| 5), at(20));
        queues.fold(Timestamp::from_nanos(20 + 599_000_000_000));
        assert_eq!(shown(&queues), named(&[("8", 5)]));
        queues.fold(Timestamp::from_nanos(20 + 600_000_000_000));
        assert_eq!(shown(&queues), named(&[("gone", 5)]));
    }

    #[test]
    fn an_inode_used_again_unseen_keeps_both_namespaces_apart() {
        let mut queues = pod_with_5_drops(Some("blue"));
        // Another listener on the same port, and the same endpoint, in a new namespace with the same number.
        queues.count([(in_pod(1), drops(5)), (in_pod(2), drops(3))], at(20));
        queues.found(POD, Some("green".into()), at(21));
        queues.reconcile(POD, &sample(8, 3), at(22));
        let snapshot = queues.snapshot(at(30));
        let lives: Vec<_> = snapshot.namespaces.iter().map(|it| (it.netns, it.presence)).collect();
        assert_eq!(lives, [(HOST, Presence::Alive), (POD, Presence::Gone), (POD, Presence::Alive)]);
        assert_eq!(shown(&queues), named(&[("blue", 5), ("green", 3)]));
        assert_ne!(snapshot.accounts[0].life, snapshot.accounts[1].life);
        assert_eq!(snapshot.accounts[1].life, snapshot.namespaces[2].life);
    }

    #[test]
    fn a_name_used_again_goes_on_with_its_series() {
        let mut queues = pod_with_5_drops(Some("blue"));
        queues.gone(POD, PerCounter::from_fn(|_| 5), at(20));
        let other = Netns(9);
        queues.found(other, Some("blue".into()), at(21));
        queues.reconcile(other, &sample(0, 0), at(22));
        (0..3).for_each(|_| queues.scraped());
        queues.fold(at(23));
        assert_eq!(shown(&queues), named(&[("blue", 5)]), "the sum under that name does not shrink");
        assert_eq!(balances(&queues), named(&[("blue", 0), ("gone", 5)]), "one series for each name");
        queues.gone(other, PerCounter::default(), at(24));
        (0..2).for_each(|_| queues.scraped());
        queues.fold(at(25));
        assert_eq!(shown(&queues), named(&[("gone", 5)]));
    }

    #[test]
    fn a_charge_in_a_namespace_nobody_found_has_a_number_for_a_name() {
        let mut queues = aggregator();
        queues.count([(in_pod(1), drops(5))], at(10));
        assert_eq!(shown(&queues), named(&[("8", 5)]));
        assert_eq!(queues.snapshot(at(11)).namespaces[1].presence, Presence::Charged);
        queues.found(POD, Some("blue".into()), at(12));
        assert_eq!(shown(&queues), named(&[("blue", 5)]));
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
