//! Listeners beside a closed port, as evidence.

use std::{collections::HashSet, net::IpAddr};

use super::{Elsewhere, ListenerElsewhere, known};
use crate::{AccountView, Endpoint, Serving};

/// Maximum number of listeners that are named.
const NAMED: usize = 3;

/// Returns the listeners that the clients of a closed port may have meant: those on the same port at
/// other addresses, else all others of a namespace that has few.
pub(super) fn elsewhere(serving: &Serving<'_>, at: Endpoint) -> Elsewhere {
    if !serving.at(at).is_empty() {
        // Someone listens there by now: nothing is elsewhere.
        return Elsewhere::Nothing;
    }
    let on_port = named(serving.on_port(at));
    if !on_port.is_empty() {
        return Elsewhere::OnPort(on_port);
    }
    let ports = serving.ports(at);
    if ports.is_empty() || ports.len() > NAMED {
        return Elsewhere::Nothing;
    }
    let others = ports.into_iter().flat_map(|port| serving.on_port(Endpoint { port, ..at })).copied();
    Elsewhere::OtherPorts(named(&others.collect::<Vec<_>>()))
}

/// Describes listeners, members of one SO_REUSEPORT group once.
fn named(listeners: &[&AccountView]) -> Vec<ListenerElsewhere> {
    let mut seen: HashSet<(IpAddr, u16)> = HashSet::new();
    let places = listeners.iter().filter_map(|account| {
        let place = account.key.addr().zip(account.key.port())?;
        seen.insert(place).then_some((place, account))
    });
    let described = places.map(|((addr, port), account)| ListenerElsewhere {
        owner: account.listener.as_deref().and_then(known::owner),
        addr,
        port,
        family: account.listener.as_ref().map(|listener| listener.family),
    });
    described.take(NAMED).collect()
}
