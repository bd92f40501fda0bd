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

    /// A search that began at `looked` found nothing that refers to a namespace; so much was attributed to its number
    /// by then. What was first charged after the search began may be the number's next namespace's: that stays open
    /// until the next one is found.
    pub fn gone(&mut self, netns: Netns, attributed: PerCounter<u64>, looked: Timestamp, now: Timestamp) {
        if let Some(life) = self.namespaces.end(netns, now) {
            self.reconciler.end(netns, attributed);
            self.retire(|account| account.life == life && account.first_seen < looked);
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
#[path = "aggregator_tests.rs"]
mod tests;
