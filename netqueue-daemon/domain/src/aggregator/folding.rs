//! Merging of accounts and namespaces that ended long ago, which bounds memory and series.

use std::{
    collections::{BTreeMap, HashSet},
    sync::Arc,
};

use super::Aggregator;
use crate::{
    AccountKey, History, Netns, Timestamp,
    retention::{self, Into},
};

impl Aggregator {
    /// Merges what ended long ago; ended accounts make room for living ones when series are scarce.
    pub(super) fn fold(&mut self, now: Timestamp) {
        let mut keep = self.settings.keep;
        if self.places.are_scarce() {
            keep.most = keep.most.min(self.settings.max_series / 4);
        }
        let moves = retention::fold(&self.accounts, &self.namespaces, keep, now);
        self.put_together(&moves, now);
        self.fold_namespaces(now);
    }

    /// Merges ended namespaces into one that ended before under the same name, or into [`Netns::GONE`].
    fn fold_namespaces(&mut self, now: Timestamp) {
        let busy = || {
            let busy = self.accounts.iter().filter(|account| match account.key {
                AccountKey::Gone(_) => false,
                AccountKey::Other(_) => account.over.is_none(),
                AccountKey::Listener { .. } | AccountKey::Endpoint(_) | AccountKey::Ephemeral { .. } => true,
            });
            busy.map(|account| account.key.netns()).collect::<HashSet<_>>()
        };
        let folded = self.namespaces.fold(busy, self.settings.keep.time, now);
        if folded.is_empty() {
            return;
        }
        let target = |key: &AccountKey| {
            let netns = *folded.get(&key.netns())?;
            Some(Into::Bucket(match key {
                // Namespaces merged into [`Netns::GONE`] are no longer distinguished by account.
                AccountKey::Other(_) if netns != Netns::GONE => AccountKey::Other(netns),
                AccountKey::Other(_)
                | AccountKey::Listener { .. }
                | AccountKey::Endpoint(_)
                | AccountKey::Ephemeral { .. }
                | AccountKey::Gone(_) => AccountKey::Gone(netns),
            }))
        };
        let moves = self.accounts.iter().enumerate();
        let moves = moves.filter_map(|(index, account)| Some((index, target(&account.key)?))).collect();
        self.put_together(&moves, now);
        folded.keys().for_each(|netns| self.reconciler.forget(*netns));
    }

    /// Adds each of these accounts to its target and removes it.
    fn put_together(&mut self, moves: &BTreeMap<usize, Into>, now: Timestamp) {
        if moves.is_empty() {
            return;
        }
        let mut pasts: BTreeMap<usize, Vec<Arc<History>>> = BTreeMap::new();
        for (from, into) in moves {
            let left = Arc::clone(&self.accounts[*from]);
            self.settled.remove(&left.key);
            self.peaks.remove(&left.id);
            self.recent.remove(&left.key);
            let into = match into {
                Into::Account(index) => *index,
                Into::Bucket(key) => self.bucket(*key, now),
            };
            let to = Arc::make_mut(&mut self.accounts[into]);
            retention::add(to, &left);
            if to.key.netns() != left.key.netns() {
                self.namespaces.join(to.key.netns());
            }
            pasts.entry(into).or_default().push(Arc::clone(&left.history));
            self.recent.set_apart(to, now);
            if !matches!(to.key, AccountKey::Listener { .. } | AccountKey::Gone(_)) {
                // Later readings, should the account get a slot, are added to the settled counts.
                self.settled.entry(to.key).or_default().add(&left.counts);
            }
        }
        for (into, mut pasts) in pasts {
            let history = &mut self.edit(into).history;
            pasts.push(std::mem::take(history));
            *history = Arc::new(History::together(pasts.iter().map(|past| &**past)));
        }
        let stays = |index: usize| !moves.contains_key(&index);
        self.by_socket.retain(|_, index| stays(*index));
        // Index of each remaining account after the removal.
        let stay = (0..self.accounts.len()).scan(0, |next, index| {
            let place = *next;
            *next += usize::from(stays(index));
            Some(place)
        });
        let places: Vec<usize> = stay.collect();
        for index in self.by_socket.values_mut() {
            *index = places.get(*index).copied().unwrap_or(*index);
        }
        let mut index = 0..;
        self.accounts.retain(|_| index.next().is_none_or(stays));
        self.find_places();
        self.weigh_histories(now);
    }

    /// Returns the index of a bucket; one that is opened here has no slot.
    fn bucket(&mut self, key: AccountKey, now: Timestamp) -> usize {
        let known = self.index.contains_key(&key);
        let index = self.open(key, now);
        if !known {
            let bucket = self.edit(index);
            bucket.over = Some(0);
            // The counts merged into it date from before.
            bucket.last_seen = Timestamp::default();
        }
        index
    }

    /// Rebuilds the index of accounts and the series budget after the list of accounts changed.
    pub(super) fn find_places(&mut self) {
        self.places.keep(self.accounts.iter().filter(|account| account.apart).map(|account| &account.key));
        self.index = self.accounts.iter().enumerate().map(|(index, account)| (account.key, index)).collect();
        self.opened = self.accounts.iter().map(|account| account.id.0).fold(self.opened, u64::max);
    }
}
