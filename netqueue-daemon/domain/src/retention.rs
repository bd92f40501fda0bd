//! Retention of ended accounts, which are merged after a while: ports that come and go leave only sums.
//!
//! A series is all accounts of one address and port in namespaces of one name, and must not fall. While one
//! of these accounts lives, or has not been scraped often enough, nothing leaves the series: closed listeners
//! merge into one. Otherwise the whole series goes to the namespace's [`AccountKey::Gone`] at once, and ends.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    net::IpAddr,
    sync::Arc,
    time::Duration,
};

use super::{
    AccountKey, AccountView, Counts, Timestamp, Traffic,
    joining::is_found_only,
    namespaces::{Namespaces, SCRAPES},
};

/// Retention of ended accounts before they are merged.
#[derive(Clone, Copy, Debug)]
pub struct Keep {
    /// Minimum time, which also lasts until two scrapes have shown the last counts.
    pub time: Duration,
    /// Maximum number of ended accounts, above which the oldest are merged early.
    pub most: usize,
}

impl Default for Keep {
    fn default() -> Self {
        Self { time: Duration::from_secs(120), most: 4096 }
    }
}

/// Maximum number of process names that stay distinguished on one port after they ended. Counts of
/// further names join the last.
const MOST_NAMES: usize = 32;

/// Destination of an account's counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Into {
    /// Another account of the same series, by index.
    Account(usize),
    /// A bucket.
    Bucket(AccountKey),
}

/// Key of a series, which namespaces of one name share, one after the other.
type SeriesName = (Arc<str>, Option<IpAddr>, Option<u16>);

/// Returns the accounts to merge, by index, with their destinations.
pub(super) fn fold(
    accounts: &[Arc<AccountView>],
    namespaces: &Namespaces,
    keep: Keep,
    now: Timestamp,
) -> BTreeMap<usize, Into> {
    let ended: Vec<usize> =
        (0..accounts.len()).filter(|index| has_ended(&accounts[*index], namespaces)).collect();
    let rested = |index: &usize| {
        let account = &accounts[*index];
        let time = now.since(account.closed.unwrap_or_default().max(account.last_seen));
        is_shown(account) && time >= keep.time || is_nothing(account)
    };
    let place = |index: usize| -> SeriesName {
        let key = &accounts[index].key;
        (namespaces.name(key.netns()), key.addr(), key.port())
    };
    let mut ripe: HashSet<usize> = ended.iter().copied().filter(rested).collect();
    ripe.extend(surplus(accounts, &ended, keep, place));
    if ripe.is_empty() {
        return BTreeMap::new();
    }

    let inhabited: HashSet<SeriesName> =
        (0..accounts.len()).filter(|index| !ripe.contains(index)).map(place).collect();
    // A merge into an endpoint would lose the process name of a listener's series. Charges of a living
    // namespace stay in that namespace.
    let kind = |index: usize| {
        let key = &accounts[index].key;
        let home = (!namespaces.has_ended(key.netns())).then_some(key.netns());
        (place(index), home, accounts[index].apart, key.is_listener())
    };
    let mut eldest = HashMap::new();
    for index in ended {
        eldest.entry(kind(index)).or_insert(index);
    }
    let goes = |index: usize| {
        if !inhabited.contains(&place(index)) {
            let account = &accounts[index];
            let netns = account.key.netns();
            // An account without a series of its own was part of `other`, which must not fall.
            let bucket = if account.apart { AccountKey::Gone(netns) } else { AccountKey::Other(netns) };
            return Some(Into::Bucket(bucket));
        }
        eldest.get(&kind(index)).filter(|eldest| **eldest != index).map(|eldest| Into::Account(*eldest))
    };
    ripe.into_iter().filter_map(|index| Some((index, goes(index)?))).collect()
}

/// Adds an account that is merged to the one that takes over its counts.
pub(super) fn add(to: &mut AccountView, left: &AccountView) {
    // Counts stay in the series of the process name under which they were charged.
    if matches!(to.key, AccountKey::Listener { .. }) {
        for (name, counts) in left.by_name().filter(|(name, _)| *name != &*to.process) {
            let room = to.earlier.len() < MOST_NAMES;
            match to.earlier.iter_mut().find(|(known, _)| **known == *name) {
                Some((_, sum)) => sum.add(&counts),
                None if room => to.earlier.push((name.into(), counts)),
                None => {}
            }
        }
    }
    to.counts.add(&left.counts);
    if *left.traffic != Traffic::default() {
        Arc::make_mut(&mut to.traffic).merge(&left.traffic);
    }
    to.first_seen = to.first_seen.min(left.first_seen);
    to.last_seen = to.last_seen.max(left.last_seen);
    to.closed = to.closed.max(left.closed);
    if matches!(left.key, AccountKey::Listener { .. }) {
        to.predecessors += 1 + left.predecessors;
    }
}

/// Returns whether nothing can be charged to the account any more, or it lost its slot after a silence.
fn has_ended(account: &AccountView, namespaces: &Namespaces) -> bool {
    match account.key {
        // A listener that was found and never charged has no slot to lose.
        AccountKey::Listener { .. } if is_found_only(&account.key) => {
            account.closed.is_some() || namespaces.has_ended(account.key.netns())
        }
        AccountKey::Listener { .. } => account.closed.is_some() && account.over.is_some(),
        AccountKey::Endpoint(_) | AccountKey::Ephemeral { .. } => account.over.is_some(),
        AccountKey::Other(_) | AccountKey::Gone(_) => false,
    }
}

/// Returns whether the last counts have been scraped often enough, or there are none.
fn is_shown(account: &AccountView) -> bool {
    account.over.is_none_or(|scrapes| scrapes >= SCRAPES) || account.counts == Counts::default()
}

/// Returns whether the account ended, was scraped often enough, and has nothing to pass on.
fn is_nothing(account: &AccountView) -> bool {
    account.over.is_some_and(|scrapes| scrapes >= SCRAPES)
        && account.counts == Counts::default()
        && account.traffic.is_none()
}

/// Returns the oldest ended accounts above the limit, with all that ended in the same series. Frees a
/// quarter of the limit, so as not to be needed again for each account that ends.
fn surplus(
    accounts: &[Arc<AccountView>],
    ended: &[usize],
    keep: Keep,
    place: impl Fn(usize) -> SeriesName,
) -> Vec<usize> {
    if ended.len() <= keep.most {
        return Vec::new();
    }
    let mut oldest = ended.to_vec();
    oldest.sort_by_key(|index| accounts[*index].last_seen);
    oldest.truncate(ended.len() - keep.most * 3 / 4);
    let places: HashSet<SeriesName> = oldest.iter().map(|index| place(*index)).collect();
    ended.iter().copied().filter(|index| places.contains(&place(*index))).collect()
}

#[cfg(test)]
#[path = "retention_tests.rs"]
mod tests;
