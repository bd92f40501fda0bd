//! What was observed, put together. One task owns it, tells it the time, and publishes its snapshots.

use std::{collections::HashMap, sync::Arc};

use super::{
    AccountId, AccountKey, AccountView, Bracket, Changes, Counts, Event, EventLog, Health, Listener,
    NamespaceBalance, Netns, Queues, Reconciler, Snapshot, SocketId, SocketInode, Timestamp,
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
    accounts: Vec<AccountView>,
    index: HashMap<AccountKey, usize>,
    /// Accounts by the socket of the listener, as long as it lives.
    by_socket: HashMap<SocketInode, usize>,
    /// Listeners that were found before anything was charged to them.
    found: u32,
    events: EventLog,
    reconciler: Reconciler,
    balances: Vec<NamespaceBalance>,
    health: Health,
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
            events: EventLog::new(settings.event_capacity),
            reconciler: Reconciler::default(),
            balances: Vec::new(),
            health: Health::default(),
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
            }
        }
        self.events.append(event);
    }

    /// The kernel side's exact counts were read. An account that is no longer there keeps what it had.
    pub fn count(&mut self, readings: impl IntoIterator<Item = (AccountKey, Counts)>, now: Timestamp) {
        for (key, counts) in readings {
            let account = self.account(key, now);
            if account.counts != counts {
                account.counts = counts;
                account.last_seen = account.last_seen.max(now);
            }
        }
    }

    /// The kernel side says which socket an account is. A listener that was found before anything was charged to it is
    /// the same account from now on, under the kernel side's key.
    pub fn identify(&mut self, key: AccountKey, inode: SocketInode, now: Timestamp) {
        if self.index.contains_key(&key) {
            return;
        }
        match self.by_socket.get(&inode).copied() {
            Some(index) if self.accounts.get(index).is_some_and(|account| is_found_only(&account.key)) => {
                if let Some(account) = self.accounts.get_mut(index) {
                    self.index.remove(&account.key);
                    account.key = key;
                }
                self.index.insert(key, index);
            }
            Some(_) | None => {
                self.account(key, now);
                if let Some(index) = self.index.get(&key) {
                    self.by_socket.insert(inode, *index);
                }
            }
        }
    }

    /// What a look at the system's listeners found to be different.
    pub fn learn(&mut self, changes: Changes, now: Timestamp) {
        for listener in changes.listeners {
            self.learn_one(listener, now);
        }
        for (inode, queue) in changes.queues {
            let index = self.by_socket.get(&inode);
            if let Some(account) = index.and_then(|index| self.accounts.get_mut(*index)) {
                account.queues.accept = Some(queue);
            }
        }
    }

    fn learn_one(&mut self, listener: Arc<Listener>, now: Timestamp) {
        let inode = listener.inode;
        let index = match self.by_socket.get(&inode).copied() {
            // An inode number is given out again after four thousand million others: not the same place, not the same.
            Some(index) if self.accounts.get(index).is_some_and(|known| is_at(known, &listener)) => index,
            Some(_) | None if listener.closed.is_some() => return,
            Some(_) | None => {
                let key = AccountKey::Listener { socket: found_only(self.found), at: listener.at };
                self.found = self.found.wrapping_add(1);
                self.account(key, now);
                self.accounts.len() - 1
            }
        };
        self.by_socket.insert(inode, index);
        if listener.closed.is_some() {
            self.by_socket.remove(&inode);
        }
        if let Some(account) = self.accounts.get_mut(index) {
            account.learn(listener);
        }
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
            accounts: self.accounts.as_slice().into(),
            events: self.events.clone(),
            balances: self.balances.clone(),
            health: self.health.clone(),
        }
    }

    fn account(&mut self, key: AccountKey, now: Timestamp) -> &mut AccountView {
        let next = self.accounts.len();
        let index = *self.index.entry(key).or_insert(next);
        if index == next {
            self.accounts.push(AccountView::new(AccountId(next as u64 + 1), key, now));
        }
        &mut self.accounts[index]
    }
}

/// The kernel side's slots are numbered from below: these numbers are none.
const FOUND_ONLY: u32 = 1 << 31;

/// The identity of a listener that was found and has no slot in the kernel side.
const fn found_only(number: u32) -> SocketId {
    SocketId(FOUND_ONLY | number)
}

const fn is_found_only(key: &AccountKey) -> bool {
    matches!(key, AccountKey::Listener { socket, .. } if socket.0 >= FOUND_ONLY)
}

fn is_at(account: &AccountView, listener: &Listener) -> bool {
    matches!(account.key, AccountKey::Listener { at, .. } if at == listener.at)
}

#[cfg(test)]
#[path = "aggregator_listener_tests.rs"]
mod listener_tests;

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;
    use crate::domain::{DropKind, Endpoint, QueueState, SocketId, What};

    const HOST: Netns = Netns(7);

    fn web(socket: u32) -> AccountKey {
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
