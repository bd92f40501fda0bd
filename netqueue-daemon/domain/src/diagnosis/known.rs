//! Listener behind an account and sysctls of its namespace, in the terms of the evidence.

use std::{sync::Arc, time::Duration};

use super::{Bound, ExaminedOwner, ListeningProcess, Stopped, SysctlValues};
use crate::{
    AccountKey, AccountView, AccountWindow, Counts, Endpoint, LimitedBy, Listener, ResetCause, Snapshot,
    Sysctls, Timestamp, serves,
};

/// Age up to which the state of a process is its present state.
/// Owners of waiting queues are examined every few seconds, less often where a scan of the host takes long.
const PRESENT: Duration = Duration::from_secs(15);
/// Time without a hindrance after which an earlier one no longer explains why connections wait.
const FREE: Duration = Duration::from_secs(60);

/// Limits of a listener's queues, and the process that owns the listener.
#[derive(Clone, Debug, Default)]
pub(super) struct Known {
    pub(super) backlog: Option<u32>,
    pub(super) bound_by: Option<Bound>,
    pub(super) listen_argument: Option<u32>,
    pub(super) settings: SysctlValues,
    pub(super) owner: Option<ListeningProcess>,
    pub(super) shares_port: bool,
}

/// Returns what is known of an account's listener, or of the listener on an endpoint's port. Without a
/// listener that was found, only the sysctls are filled in, from another one of the namespace.
pub(super) fn listener(snapshot: &Snapshot, account: &AccountView) -> Known {
    let found = account.listener.as_ref().or_else(|| on_its_port(snapshot, account));
    let known = found.map(|listener| of(listener)).unwrap_or_default();
    if known.settings != SysctlValues::default() {
        return known;
    }
    let neighbour = snapshot
        .accounts
        .iter()
        .find_map(|other| other.listener.as_ref().filter(|_| other.key.netns() == account.key.netns()));
    let settings = neighbour.map_or(known.settings, |listener| settings(&listener.limit.sysctls));
    Known { settings, ..known }
}

/// Returns the state of a listener's owners in the window: the newest that has a hindrance, unless the
/// processes have been free of it for a while; else the newest.
pub(super) fn examined_owner(
    snapshot: &Snapshot,
    account: &AccountView,
    (from, now): (Timestamp, Timestamp),
) -> Option<ExaminedOwner> {
    let newest = account.owner_state.as_ref()?;
    let hindered = account.owner_hindered.as_ref().filter(|state| newest.at.since(state.at) <= FREE);
    let state = hindered.unwrap_or(newest);
    let waits = account.queues.accept.is_some_and(|queue| queue.length > 0) && account.closed.is_none();
    (state.at >= from).then(|| ExaminedOwner {
        state: Arc::clone(state),
        ongoing: waits && state.at == newest.at && now.since(state.at) <= PRESENT,
        wall_clock: snapshot.wall_clock,
    })
}

/// Returns the newest listener on the port of an endpoint. Resets of a listener's connections are
/// charged to the endpoint that their packets came to.
fn on_its_port<'a>(snapshot: &'a Snapshot, account: &AccountView) -> Option<&'a Arc<Listener>> {
    let AccountKey::Endpoint(at) = account.key else { return None };
    listeners_of(snapshot, at).filter_map(|account| account.listener.as_ref()).next_back()
}

/// Returns the listeners, closed ones included, that an endpoint's connections may have come from.
fn listeners_of(snapshot: &Snapshot, endpoint: Endpoint) -> impl DoubleEndedIterator<Item = &AccountView> {
    let accounts = snapshot.accounts.iter().map(|account| &**account);
    accounts.filter(move |account| match account.key {
        AccountKey::Listener { at, .. } => {
            (at.netns, at.port) == (endpoint.netns, endpoint.port) && serves(account, endpoint.addr)
        }
        AccountKey::Endpoint(_)
        | AccountKey::Ephemeral { .. }
        | AccountKey::Other(_)
        | AccountKey::Gone(_) => false,
    })
}

/// Returns the end of the server on an endpoint's port, if its last listener was closed from `from` on.
/// A group of SO_REUSEPORT, or a server that is replaced without a gap, does not end with one listener.
pub(super) fn stopped(
    snapshot: &Snapshot,
    account: &AccountView,
    past: &AccountWindow,
    from: Timestamp,
) -> Option<Stopped> {
    /// Time before the close of the listener in which a process that ends closes its connections.
    const ENDING: Duration = Duration::from_secs(2);
    let AccountKey::Endpoint(at) = account.key else { return None };
    let listeners = || listeners_of(snapshot, at);
    let ends =
        || listeners().filter_map(|listener| Some((listener.closed.filter(|at| *at >= from)?, listener)));
    let (closed, last) = ends().max_by_key(|(closed, _)| *closed)?;
    let first = ends().map(|(closed, _)| closed).min()?;
    let open = || listeners().filter(|listener| listener.closed.is_none());
    if open().any(|listener| listener.first_seen <= closed) {
        return None;
    }
    Some(Stopped {
        ago: snapshot.taken.since(closed),
        owner: last.listener.as_ref().and_then(|listener| of(listener).owner),
        reopened: open().next().is_some(),
        since: account.counts.less(past.counts_at(closed.before(ENDING).max(from))),
        times: ends().count() as u64,
        refused: refused(account.counts.less(past.counts_at(first))),
    })
}

fn refused(counts: Counts) -> u64 {
    counts.resets().find(|(cause, _)| *cause == ResetCause::NoListener).map_or(0, |(_, resets)| resets)
}

fn of(listener: &Listener) -> Known {
    let limit = &listener.limit;
    let bound_by = match limit.limited_by() {
        LimitedBy::ListenArgument => Some(Bound::ListenArgument),
        LimitedBy::Somaxconn => Some(Bound::Somaxconn),
        LimitedBy::EarlierSomaxconn => Some(Bound::EarlierSomaxconn),
        LimitedBy::ListenCall => Some(Bound::Unseen),
        LimitedBy::Unknown => None,
    };
    Known {
        backlog: limit.backlog.ok(),
        bound_by,
        // The kernel takes it as unsigned: a negative argument requests the maximum.
        listen_argument: limit.argument.ok().map(i32::cast_unsigned),
        settings: settings(&limit.sysctls),
        owner: owner(listener),
        shares_port: listener.reuseport.is_some(),
    }
}

/// Returns the process that a listener is named after.
pub(super) fn owner(listener: &Listener) -> Option<ListeningProcess> {
    listener.owner().map(|owner| ListeningProcess {
        name: Arc::clone(&owner.comm),
        pid: owner.pid,
        unit: owner.place.as_ref().ok().and_then(|place| place.unit.clone()),
    })
}

fn settings(sysctls: &Sysctls) -> SysctlValues {
    SysctlValues {
        somaxconn: sysctls.somaxconn.ok(),
        max_syn_backlog: sysctls.max_syn_backlog.ok(),
        syncookies: sysctls.syncookies.ok(),
        abort_on_overflow: sysctls.abort_on_overflow.ok(),
        synack_retries: sysctls.synack_retries.ok(),
        migrate_req: sysctls.migrate_req.ok(),
    }
}
