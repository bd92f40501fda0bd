//! What is known of the listener behind an account, and of its namespace, in the words of the evidence.

use std::sync::Arc;

use super::{Bound, Process, Settings};
use crate::{AccountKey, AccountView, LimitedBy, Listener, Snapshot, Sysctls};

/// What decides over a listener's queues, and whose it is.
#[derive(Clone, Debug, Default)]
pub(super) struct Known {
    pub(super) backlog: Option<u32>,
    pub(super) bound_by: Option<Bound>,
    pub(super) listen_argument: Option<u32>,
    pub(super) settings: Settings,
    pub(super) owner: Option<Process>,
}

/// What is known of the listener of the account; for an endpoint, of the one on its port; else of its namespace only.
pub(super) fn listener(snapshot: &Snapshot, account: &AccountView) -> Known {
    let found = account.listener.as_ref().or_else(|| on_its_port(snapshot, account));
    let known = found.map(|listener| of(listener)).unwrap_or_default();
    if known.settings != Settings::default() {
        return known;
    }
    let neighbour = snapshot
        .accounts
        .iter()
        .find_map(|other| other.listener.as_ref().filter(|_| other.key.netns() == account.key.netns()));
    let settings = neighbour.map_or(known.settings, |listener| settings(&listener.limit.sysctls));
    Known { settings, ..known }
}

/// The newest listener on the port of an endpoint: resets of its connections are charged to the address they came to.
fn on_its_port<'a>(snapshot: &'a Snapshot, account: &AccountView) -> Option<&'a Arc<Listener>> {
    let AccountKey::Endpoint(at) = account.key else { return None };
    let takes = |key: &AccountKey| match key {
        AccountKey::Listener { at: place, .. } => {
            place.netns == at.netns
                && place.port == at.port
                && (place.addr.is_unspecified() || place.addr == at.addr)
        }
        AccountKey::Endpoint(_)
        | AccountKey::Ephemeral { .. }
        | AccountKey::Other(_)
        | AccountKey::Gone(_) => false,
    };
    let listening = snapshot.accounts.iter().filter(|account| takes(&account.key));
    listening.filter_map(|account| account.listener.as_ref()).next_back()
}

fn of(listener: &Listener) -> Known {
    let limit = &listener.limit;
    let bound_by = match limit.limited_by() {
        LimitedBy::ListenArgument => Some(Bound::ListenArgument),
        LimitedBy::Somaxconn => Some(Bound::Somaxconn),
        LimitedBy::EarlierSomaxconn => Some(Bound::EarlierSomaxconn),
        // Lower than the sysctl: what the program asked for, unless the sysctl was lower then, which nobody saw.
        LimitedBy::ListenCall => Some(Bound::ListenArgument),
        LimitedBy::Unknown => None,
    };
    Known {
        backlog: limit.backlog.ok(),
        bound_by,
        // The kernel takes it as unsigned: a negative one asks for as much as there is.
        listen_argument: limit.argument.ok().map(i32::cast_unsigned),
        settings: settings(&limit.sysctls),
        owner: listener.owner().map(|owner| Process {
            name: Arc::clone(&owner.comm),
            pid: owner.pid,
            unit: owner.place.as_ref().ok().and_then(|place| place.unit.clone()),
        }),
    }
}

fn settings(sysctls: &Sysctls) -> Settings {
    Settings {
        somaxconn: sysctls.somaxconn.ok(),
        max_syn_backlog: sysctls.max_syn_backlog.ok(),
        syncookies: sysctls.syncookies.ok(),
        abort_on_overflow: sysctls.abort_on_overflow.ok(),
        synack_retries: sysctls.synack_retries.ok(),
        migrate_req: sysctls.migrate_req.ok(),
    }
}
