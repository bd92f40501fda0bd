//! What accounts were charged: as the kernel side counts it, slot by slot.

use std::collections::HashMap;

use super::Aggregator;
use crate::{AccountKey, Counts, Timestamp};

impl Aggregator {
    /// The kernel side's exact counts were read: of every slot that is somebody's. An account may have two, and one that
    /// has none any more keeps what it had.
    pub fn count(&mut self, readings: impl IntoIterator<Item = (AccountKey, Counts)>, now: Timestamp) {
        // Only what is no listener can have had a slot before: no two listeners are one account.
        let mut shared: Vec<(AccountKey, Counts)> = Vec::new();
        let mut place: HashMap<AccountKey, usize> = HashMap::new();
        for (key, counts) in readings {
            if matches!(key, AccountKey::Listener { .. }) {
                self.set(key, counts, None, now);
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
            self.set(key, counts, None, now);
        }
    }

    fn set(&mut self, key: AccountKey, counts: Counts, over: Option<u8>, now: Timestamp) {
        let index = self.open(key, now);
        let before = self.accounts[index].counts;
        if before == counts && self.accounts[index].over == over {
            return;
        }
        let account = self.edit(index);
        account.over = over;
        if before != counts {
            account.counts = counts;
            account.last_seen = account.last_seen.max(now);
            self.remember_charges(index, &before, &counts, now);
        }
    }

    /// A slot was given back with these counts: no later reading has them.
    pub fn settle(&mut self, key: AccountKey, counts: Counts, now: Timestamp) {
        if matches!(key, AccountKey::Listener { .. }) {
            // Nothing else was or will be charged to it.
            self.set(key, counts, Some(0), now);
            return;
        }
        let settled = self.settled.entry(key).or_default();
        settled.add(&counts);
        let settled = *settled;
        // Where there is more, it has another slot already.
        let account = self.account(key, now);
        if account.counts.within(&settled) {
            self.set(key, settled, Some(0), now);
        }
    }

    /// Listeners are closed.
    pub fn close(&mut self, closed: impl IntoIterator<Item = (AccountKey, Timestamp)>) {
        for (key, at) in closed {
            if let Some(index) = self.index.get(&key).copied() {
                self.edit(index).closed.get_or_insert(at);
            }
        }
    }
}
