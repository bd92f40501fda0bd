//! What becomes of accounts that are over: after a while they are put together, so that ports that come and go leave
//! nothing behind but their sums.
//!
//! A series is all accounts of one address and port in namespaces of one name. While one of them lives, or was not told often enough, nothing leaves
//! the series, which would fall: closed listeners become one. The whole series goes to the namespace's
//! [`AccountKey::Gone`] at once, and ends.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    net::IpAddr,
    sync::Arc,
    time::Duration,
};

use super::{
    AccountKey, AccountView, Counts, Timestamp, Traffic, joining::is_found_only, namespaces::Namespaces,
};

/// How long what is over is kept apart.
#[derive(Clone, Copy, Debug)]
pub struct Keep {
    /// At least this long, and until two scrapes have shown its last counts..
    pub time: Duration,
    /// .. unless so many are over that the oldest must make room.
    pub most: usize,
}

impl Default for Keep {
    fn default() -> Self {
        Self { time: Duration::from_secs(120), most: 4096 }
    }
}

/// Enough for whoever scrapes to have seen the last counts, should one scrape have been under way or lost.
pub(super) const SCRAPES: u8 = 2;

/// So many names that processes had on one port are told apart when they are gone; what more there were joins the last.
const MOST_NAMES: usize = 32;

/// Where an account's counts go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Into {
    /// Another account of the same series, by its index.
    Account(usize),
    /// This bucket.
    Bucket(AccountKey),
}

/// What makes accounts one series. Namespaces of one name, one after the other, have the same series.
type Place = (Arc<str>, Option<IpAddr>, Option<u16>);

/// Which accounts are to be put together, by their indices.
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
    let place = |index: usize| -> Place {
        let key = &accounts[index].key;
        (namespaces.name(key.netns()), key.addr(), key.port())
    };
    let mut ripe: HashSet<usize> = ended.iter().copied().filter(rested).collect();
    ripe.extend(surplus(accounts, &ended, keep, place));
    if ripe.is_empty() {
        return BTreeMap::new();
    }

    let inhabited: HashSet<Place> =
        (0..accounts.len()).filter(|index| !ripe.contains(index)).map(place).collect();
    // A name that a listener's series carry is lost where an endpoint takes over; what a namespace that lives was charged
    // stays in it.
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
            // Else it was part of that series, which must not fall.
            let bucket = if account.apart { AccountKey::Gone(netns) } else { AccountKey::Other(netns) };
            return Some(Into::Bucket(bucket));
        }
        eldest.get(&kind(index)).filter(|eldest| **eldest != index).map(|eldest| Into::Account(*eldest))
    };
    ripe.into_iter().filter_map(|index| Some((index, goes(index)?))).collect()
}

/// Adds an account that leaves to the one that takes over its counts.
pub(super) fn add(to: &mut AccountView, left: &AccountView) {
    // Each part stays in the series of its name.
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

/// Nothing can be charged to it any more, or nothing has been for so long that it lost its slot.
fn has_ended(account: &AccountView, namespaces: &Namespaces) -> bool {
    match account.key {
        // One that was found and never charged has no slot to lose.
        AccountKey::Listener { .. } if is_found_only(&account.key) => {
            account.closed.is_some() || namespaces.has_ended(account.key.netns())
        }
        AccountKey::Listener { .. } => account.closed.is_some() && account.over.is_some(),
        AccountKey::Endpoint(_) | AccountKey::Ephemeral { .. } => account.over.is_some(),
        AccountKey::Other(_) | AccountKey::Gone(_) => false,
    }
}

/// Whoever scrapes has seen its last counts, or there are none.
fn is_shown(account: &AccountView) -> bool {
    account.over.is_none_or(|scrapes| scrapes >= SCRAPES) || account.counts == Counts::default()
}

/// It is closed, whoever scrapes knows, and there is nothing that a successor could go on with.
fn is_nothing(account: &AccountView) -> bool {
    account.over.is_some_and(|scrapes| scrapes >= SCRAPES)
        && account.counts == Counts::default()
        && account.traffic.is_none()
}

/// The oldest of those that are more than may be kept, with what ended at the same places, and then a few more, for not to
/// come back with each that ends.
fn surplus(
    accounts: &[Arc<AccountView>],
    ended: &[usize],
    keep: Keep,
    place: impl Fn(usize) -> Place,
) -> Vec<usize> {
    if ended.len() <= keep.most {
        return Vec::new();
    }
    let mut oldest = ended.to_vec();
    oldest.sort_by_key(|index| accounts[*index].last_seen);
    oldest.truncate(ended.len() - keep.most * 3 / 4);
    let places: HashSet<Place> = oldest.iter().map(|index| place(*index)).collect();
    ended.iter().copied().filter(|index| places.contains(&place(*index))).collect()
}

#[cfg(test)]
#[path = "gone_tests.rs"]
mod tests;
