//! Where an account is: as the API writes it, and as a client asks for it.

use std::{net::IpAddr, sync::Arc};

use serde::Serialize;

use super::{params::Params, problem::Problem};
use crate::domain::{AccountKey, AccountView, Event, Netns, Snapshot};

/// The members that say where something is. `addr` and `port` are null for what is at no one place.
#[derive(Serialize)]
pub(super) struct Place {
    netns: String,
    netns_inode: u32,
    addr: Option<IpAddr>,
    port: Option<u16>,
}

impl Place {
    /// Of an account.
    pub(super) fn of(snapshot: &Snapshot, account: &AccountView) -> Self {
        Self::new(&snapshot.netns_of(account), &account.key)
    }

    /// Of an event: its account's place, but always with the port.
    pub(super) fn of_event(snapshot: &Snapshot, event: &Event) -> Self {
        let netns = snapshot.netns_at(event.account.netns(), event.time);
        Self { port: Some(event.local_port), ..Self::new(&netns, &event.account) }
    }

    fn new(netns: &str, key: &AccountKey) -> Self {
        Self { netns: netns.to_string(), netns_inode: key.netns().0, addr: key.addr(), port: key.port() }
    }
}

/// Accounts asked for by where they are.
pub(super) struct PlaceFilter {
    netns: Option<NetnsFilter>,
    addr: Option<IpAddr>,
    port: Option<u16>,
}

/// A namespace by its name, or by its inode number.
struct NetnsFilter {
    name: String,
    inode: Option<Netns>,
}

impl PlaceFilter {
    /// The parameters it is made of.
    pub(super) const PARAMS: [&str; 3] = ["netns", "addr", "port"];

    pub(super) fn from_params(params: &Params) -> Result<Self, Problem> {
        let netns = |text: &str| {
            let inode = text.parse().ok().map(Netns);
            (!text.is_empty()).then(|| NetnsFilter { name: text.to_owned(), inode })
        };
        Ok(Self {
            netns: params.get(
                "netns",
                "`host`, or the name or inode number of a network namespace",
                netns,
            )?,
            addr: params.get("addr", "an IP address such as 0.0.0.0, 127.0.0.1, :: or [::1]", address)?,
            port: params.get("port", "a port, 0 to 65535", |port| port.parse().ok())?,
        })
    }

    /// What the client should know if there is no such namespace.
    pub(super) fn warning(&self, snapshot: &Snapshot) -> Option<String> {
        let netns = self.netns.as_ref()?;
        let known = snapshot.namespaces.iter().any(|namespace| netns.is(namespace.netns, &namespace.name));
        (!known).then(|| {
            format!("no network namespace is known as {}: see reconciliation at /api/v1/status", netns.name)
        })
    }

    pub(super) fn admits(&self, snapshot: &Snapshot, account: &AccountView) -> bool {
        self.admits_at(&account.key, account.key.port(), || snapshot.netns_of(account))
    }

    pub(super) fn admits_event(&self, snapshot: &Snapshot, event: &Event) -> bool {
        let name = || snapshot.netns_at(event.account.netns(), event.time);
        self.admits_at(&event.account, Some(event.local_port), name)
    }

    /// The name is asked for last: it takes a search.
    fn admits_at(&self, key: &AccountKey, port: Option<u16>, name: impl Fn() -> Arc<str>) -> bool {
        self.addr.is_none_or(|addr| key.addr() == Some(addr))
            && self.port.is_none_or(|asked| port == Some(asked))
            && self.netns.as_ref().is_none_or(|netns| match netns.inode {
                Some(inode) => inode == key.netns(),
                None => *name() == *netns.name,
            })
    }
}

impl NetnsFilter {
    fn is(&self, netns: Netns, name: &str) -> bool {
        self.inode.map_or(self.name == name, |inode| inode == netns)
    }
}

/// An address with or without the brackets `ss` writes.
pub(super) fn address(text: &str) -> Option<IpAddr> {
    match text.strip_prefix('[').and_then(|text| text.strip_suffix(']')) {
        Some(inside) => inside.parse().ok().map(IpAddr::V6),
        None => text.parse().ok(),
    }
}
