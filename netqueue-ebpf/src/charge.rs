//! Accounts to charge, by the key of a listener or endpoint.

use netqueue_common::{ListenerKey, NO_SLOT, Tally};

use crate::{
    maps::CounterHandle,
    slots::{self, Need},
    tally::tally,
};

impl CounterHandle {
    /// Opens the account of `key`: its own, else the `other` bucket of its namespace, else none.
    /// If it is the bucket, `key` names the bucket afterwards; if none, the loss is counted. Counts in a
    /// bucket are those that were folded: the daemon reads them there.
    #[inline(always)]
    pub(crate) fn open(key: &mut ListenerKey) -> Self {
        let mut slot = slots::of(key, Need::Charge);
        if slot == NO_SLOT {
            *key = ListenerKey::other(key.netns);
            slot = slots::of_other(key);
            if slot == NO_SLOT {
                tally(Tally::ChargesLost);
            }
        }
        Self::at(slot)
    }
}
