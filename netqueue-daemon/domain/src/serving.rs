//! Listeners by the addresses that they serve: which one a packet's destination belongs to, and what
//! listens beside it.

use std::{collections::HashMap, net::IpAddr};

use super::{AccountKey, AccountView, Counts, Endpoint, Family, ResetCause};

/// Open listeners by namespace and port. Ignores the namespace's generation, which may be unknown for
/// a listener that dropped nothing yet.
#[derive(Debug, Default)]
pub struct Serving<'a> {
    by_port: HashMap<(u32, u16), Vec<&'a AccountView>>,
    ports: HashMap<u32, Vec<u16>>,
}

impl<'a> Serving<'a> {
    /// Indexes the open listeners among the accounts.
    pub fn new(accounts: impl IntoIterator<Item = &'a AccountView>) -> Self {
        let mut serving = Self::default();
        for account in accounts {
            let AccountKey::Listener { at, .. } = account.key else { continue };
            if account.closed.is_none() {
                serving.by_port.entry((at.netns.inode, at.port)).or_default().push(account);
            }
        }
        for (inode, port) in serving.by_port.keys() {
            serving.ports.entry(*inode).or_default().push(*port);
        }
        serving
    }

    /// Returns the listeners that take connections to the endpoint: several only in an SO_REUSEPORT group.
    /// A listener on the address itself goes before one on every address.
    #[must_use]
    pub fn at(&self, endpoint: Endpoint) -> Vec<&'a AccountView> {
        let on_port = self.on_port(endpoint);
        let exact: Vec<_> =
            on_port.iter().copied().filter(|account| account.key.addr() == Some(endpoint.addr)).collect();
        if !exact.is_empty() {
            return exact;
        }
        let wild = |ipv6| {
            let takes = on_port.iter().copied().filter(move |account| {
                let addr = account.key.addr();
                addr.is_some_and(|addr| addr.is_unspecified() && addr.is_ipv6() == ipv6)
                    && serves(account, endpoint.addr)
            });
            takes.collect::<Vec<_>>()
        };
        let own_family = wild(endpoint.addr.is_ipv6());
        if own_family.is_empty() { wild(true) } else { own_family }
    }

    /// Returns the listeners on the endpoint's port, whatever their address.
    #[must_use]
    pub fn on_port(&self, endpoint: Endpoint) -> &[&'a AccountView] {
        self.by_port.get(&(endpoint.netns.inode, endpoint.port)).map_or(&[], Vec::as_slice)
    }

    /// Returns the ports that are listened on in the endpoint's namespace, in order.
    #[must_use]
    pub fn ports(&self, endpoint: Endpoint) -> Vec<u16> {
        let mut ports = self.ports.get(&endpoint.netns.inode).cloned().unwrap_or_default();
        ports.sort_unstable();
        ports
    }
}

/// Returns whether a listener takes connections to that address of its namespace.
#[must_use]
pub fn serves(listener: &AccountView, addr: IpAddr) -> bool {
    let Some(own) = listener.key.addr() else { return false };
    if !own.is_unspecified() || own.is_ipv4() == addr.is_ipv4() {
        return own == addr || own.is_unspecified() && own.is_ipv4() == addr.is_ipv4();
    }
    own.is_ipv6()
        && listener.listener.as_ref().is_some_and(|listener| match listener.family {
            Family::DualStack | Family::Ipv6OrDualStack => true,
            Family::Ipv4 | Family::Ipv6 => false,
        })
}

/// Returns whether a reset of that cause ends a connection that was established, rather than refusing
/// a packet that belongs to none.
#[must_use]
pub const fn ends_connection(cause: ResetCause) -> bool {
    match cause {
        ResetCause::AfterClose
        | ResetCause::CloseUnreadData
        | ResetCause::LingerZero
        | ResetCause::KeepaliveTimeout
        | ResetCause::OutOfMemory
        | ResetCause::Other => true,
        ResetCause::OverflowAbort
        | ResetCause::HandshakeAborted
        | ResetCause::UnknownConnection
        | ResetCause::ExpiredHandshake
        | ResetCause::NoListener
        | ResetCause::NoConnection
        | ResetCause::Again
        | ResetCause::PeerClosing
        | ResetCause::ListenerClosed => false,
    }
}

/// Resets of accepted connections, by the listener that took the connections. The kernel no longer
/// knows the listener when it sends them, so that they are charged to the local address and port.
#[derive(Debug, Default)]
pub struct ConnectionResets {
    by_listener: HashMap<AccountKey, Vec<(ResetCause, u64)>>,
}

impl ConnectionResets {
    /// Adds up what was charged to endpoints that a listener serves. Members of an SO_REUSEPORT group all
    /// get the whole number, because nothing tells which of them accepted a connection.
    pub fn new<'a>(accounts: impl Iterator<Item = &'a AccountView> + Clone) -> Self {
        let mut resets = Self::default();
        let ending = |counts: &Counts| {
            let ending = counts.resets().filter(|(cause, count)| *count > 0 && ends_connection(*cause));
            ending.collect::<Vec<_>>()
        };
        let endpoints = accounts.clone().filter_map(|account| match account.key {
            AccountKey::Endpoint(at) => Some((at, ending(&account.counts))),
            AccountKey::Listener { .. }
            | AccountKey::Ephemeral { .. }
            | AccountKey::Other(_)
            | AccountKey::Gone(_) => None,
        });
        let mut endpoints = endpoints.filter(|(_, ending)| !ending.is_empty()).peekable();
        if endpoints.peek().is_none() {
            return resets;
        }
        let serving = Serving::new(accounts);
        for (at, ending) in endpoints {
            for listener in serving.at(at) {
                let sums = resets.by_listener.entry(listener.key).or_default();
                for (cause, count) in &ending {
                    match sums.iter_mut().find(|(known, _)| known == cause) {
                        Some((_, sum)) => *sum += count,
                        None => sums.push((*cause, *count)),
                    }
                }
            }
        }
        resets
    }

    /// Returns the resets of a listener's accepted connections by cause, since netqueue attached.
    #[must_use]
    pub fn of(&self, listener: &AccountKey) -> &[(ResetCause, u64)] {
        self.by_listener.get(listener).map_or(&[], Vec::as_slice)
    }
}
