//! Charges of accounts, slot by slot as the kernel side counts them.

use std::collections::HashMap;

use super::Aggregator;
use crate::{AccountKey, Counts, Timestamp};

impl Aggregator {
    /// Takes in the kernel side's exact counts, one reading for each slot in use. An account may have two
    /// slots at a time, and an account that has lost its slot keeps its last counts.
    pub fn count(&mut self, readings: impl IntoIterator<Item = (AccountKey, Counts)>, now: Timestamp) {
        // Only an account that is no listener can have had a slot before: each listener is an account of its
        // own.
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

    /// Takes in the final counts of a slot that was given back; no later reading includes them.
    pub fn settle(&mut self, key: AccountKey, counts: Counts, now: Timestamp) {
        if matches!(key, AccountKey::Listener { .. }) {
            // The slot was the listener's only one, so these counts are final.
            self.set(key, counts, Some(0), now);
            return;
        }
        let settled = self.settled.entry(key).or_default();
        settled.add(&counts);
        let settled = *settled;
        // Counts beyond the settled ones come from another slot, which the account already has.
        let account = self.account(key, now);
        if account.counts.within(&settled) {
            self.set(key, settled, Some(0), now);
        }
    }

    /// Marks listeners as closed.
    pub fn close(&mut self, closed: impl IntoIterator<Item = (AccountKey, Timestamp)>) {
        for (key, at) in closed {
            if let Some(index) = self.index.get(&key).copied() {
                self.edit(index).closed.get_or_insert(at);
            }
        }
    }
}
