//! Filter, order and limit of accounts by query parameters.

use std::cmp::Reverse;

use netqueue_api::Listeners;
use netqueue_domain::{AccountView, Snapshot};

use super::{
    account_row::{connection_resets, listener_from},
    choices::{KINDS, SORTS},
    params::Params,
    place::PlaceFilter,
    problem::Problem,
};

/// Conditions that an account must meet, and the order and number of those returned.
pub(super) struct ListenerFilter {
    place: PlaceFilter,
    kind: Option<&'static str>,
    process: Option<String>,
    closed: Option<&'static str>,
    sort: &'static str,
    limit: usize,
}

/// Largest number of accounts in one response.
pub(super) const MOST: usize = 10_000;

impl ListenerFilter {
    /// Query parameters from which the filter is parsed.
    pub(super) const PARAMS: [&str; 8] =
        ["netns", "addr", "port", "kind", "process", "closed", "sort", "limit"];

    pub(super) fn from_params(params: Params) -> Result<Self, Problem> {
        let params = params.only(&Self::PARAMS)?;
        let limit = params.get("limit", &format!("a number, 1 to {MOST}"), |limit| {
            limit.parse().ok().filter(|limit| (1..=MOST).contains(limit))
        })?;
        Ok(Self {
            place: PlaceFilter::from_params(&params)?,
            kind: params.one_of("kind", KINDS)?,
            process: params.get("process", "the name of a process", |name| Some(name.to_owned()))?,
            closed: params.one_of("closed", &["true", "false"])?,
            sort: params.one_of("sort", &SORTS)?.unwrap_or("id"),
            limit: limit.unwrap_or(MOST),
        })
    }

    /// Returns the accounts that match, and a warning if some of them are omitted.
    pub(super) fn select(&self, snapshot: &Snapshot) -> (Listeners, Vec<String>) {
        let mut admitted: Vec<_> =
            snapshot.accounts.iter().filter(|account| self.admits(snapshot, account)).collect();
        match self.sort {
            "drops" => admitted.sort_by_key(|account| Reverse(account.counts.drop_total())),
            "resets" => admitted.sort_by_key(|account| Reverse(account.counts.reset_total())),
            "fullness" => admitted.sort_by(|a, b| fullness(b).total_cmp(&fullness(a))),
            "last_seen" => admitted.sort_by_key(|account| Reverse(account.last_seen)),
            _ => {}
        }
        let total = admitted.len();
        let connections = connection_resets(snapshot);
        let shown = admitted.into_iter().take(self.limit);
        let listeners = shown.map(|account| listener_from(snapshot, account, &connections)).collect();
        let cut = total > self.limit;
        let warnings =
            cut.then(|| format!("only the first {} of {total} are shown: see `limit`", self.limit));
        (Listeners { listeners, total: total as u64 }, warnings.into_iter().collect())
    }

    fn admits(&self, snapshot: &Snapshot, account: &AccountView) -> bool {
        self.kind.is_none_or(|kind| account.key.kind() == kind)
            && self.process.as_deref().is_none_or(|process| *account.process == *process)
            && self.closed.is_none_or(|closed| account.closed.is_some() == (closed == "true"))
            && self.place.admits(snapshot, &account.key)
    }
}

/// Ratio of length to limit of the fuller queue; 0 for a closed listener.
fn fullness(account: &AccountView) -> f64 {
    let share = |queue: Option<netqueue_domain::QueueState>| {
        queue.map_or(0.0, |queue| f64::from(queue.length) / f64::from(queue.limit.max(1)))
    };
    if account.closed.is_some() { 0.0 } else { share(account.queues.accept).max(share(account.queues.syn)) }
}
