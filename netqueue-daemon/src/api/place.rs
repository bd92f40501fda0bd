//! Location of an account: network namespace, address and port; and the filter by it.

use std::{borrow::Cow, net::IpAddr};

use netqueue_domain::{AccountKey, Event, Netns, Snapshot};

use super::{params::Params, problem::Problem};

/// Location of an account in a response. `addr` and `port` are null if it is not confined to one.
pub(super) struct Place {
    pub(super) netns: String,
    pub(super) netns_inode: u32,
    /// Generation; 0 existed when netqueue attached.
    /// Earlier or later namespaces may have the same inode number.
    pub(super) netns_generation: u32,
    pub(super) addr: Option<IpAddr>,
    pub(super) port: Option<u16>,
}

impl Place {
    pub(super) fn of(snapshot: &Snapshot, key: &AccountKey) -> Self {
        let netns = key.netns();
        Self {
            netns: snapshot.netns_name(netns),
            netns_inode: netns.inode,
            netns_generation: netns.generation,
            addr: key.addr(),
            port: key.port(),
        }
    }

    /// Location of a whole network namespace.
    pub(super) fn of_namespace(snapshot: &Snapshot, netns: Netns) -> Self {
        Self {
            netns: snapshot.netns_name(netns),
            netns_inode: netns.inode,
            netns_generation: netns.generation,
            addr: None,
            port: None,
        }
    }
}

/// Filter of accounts by location.
#[derive(Clone)]
pub(super) struct PlaceFilter {
    netns: Option<NetnsFilter>,
    addr: Option<IpAddr>,
    port: Option<u16>,
}

#[derive(Clone)]
enum NetnsFilter {
    Host,
    /// Every namespace that has or had the inode number.
    Inode(u32),
    One(Netns),
    /// Every namespace with that name.
    Name(String),
}

impl PlaceFilter {
    pub(super) fn from_params(params: &Params) -> Result<Self, Problem> {
        Ok(Self {
            netns: params.get("netns", "`host`, or a network namespace's name, or its inode number, alone or with its generation as in 4026532201.3", netns)?,
            addr: params.get("addr", "an IP address such as 0.0.0.0, 127.0.0.1, :: or [::1]", address)?,
            port: params.get("port", "a port, 0 to 65535", |port| port.parse().ok())?,
        })
    }

    pub(super) fn admits(&self, snapshot: &Snapshot, key: &AccountKey) -> bool {
        let name = || snapshot.netns_name(key.netns()).into();
        self.admits_at(snapshot, key, key.port(), name)
    }

    /// Returns whether the location of an event matches; `name` returns the name of its namespace at that
    /// time.
    pub(super) fn admits_event<'a>(
        &self,
        snapshot: &Snapshot,
        event: &Event,
        name: impl FnOnce() -> Cow<'a, str>,
    ) -> bool {
        self.admits_at(snapshot, &event.account, Some(event.local_port), name)
    }

    /// Returns whether a whole namespace matches: only if the filter has no address or port.
    pub(super) fn admits_all_of(&self, snapshot: &Snapshot, netns: Netns) -> bool {
        let name = || snapshot.netns_name(netns).into();
        self.addr.is_none() && self.port.is_none() && self.admits_netns(snapshot, netns, name)
    }

    fn admits_netns<'a>(
        &self,
        snapshot: &Snapshot,
        asked: Netns,
        called: impl FnOnce() -> Cow<'a, str>,
    ) -> bool {
        self.netns.as_ref().is_none_or(|netns| match netns {
            NetnsFilter::Host => asked == snapshot.host && snapshot.sees_host(),
            NetnsFilter::Inode(inode) => asked.inode == *inode,
            NetnsFilter::One(netns) => asked == *netns,
            NetnsFilter::Name(name) => called() == name.as_str(),
        })
    }

    fn admits_at<'a>(
        &self,
        snapshot: &Snapshot,
        key: &AccountKey,
        port: Option<u16>,
        netns: impl FnOnce() -> Cow<'a, str>,
    ) -> bool {
        self.admits_netns(snapshot, key.netns(), netns)
            && self.addr.is_none_or(|addr| key.addr() == Some(addr))
            && self.port.is_none_or(|asked| port == Some(asked))
    }
}

fn netns(text: &str) -> Option<NetnsFilter> {
    if text == "host" {
        return Some(NetnsFilter::Host);
    }
    if let Ok(inode) = text.parse() {
        return Some(NetnsFilter::Inode(inode));
    }
    let generation = text.split_once('.').and_then(|(inode, generation)| {
        Some(Netns { inode: inode.parse().ok()?, generation: generation.parse().ok()? })
    });
    match generation {
        Some(netns) => Some(NetnsFilter::One(netns)),
        None => (!text.is_empty()).then(|| NetnsFilter::Name(text.to_owned())),
    }
}

/// Parses an address, with or without the brackets that `ss` writes.
pub(super) fn address(text: &str) -> Option<IpAddr> {
    match text.strip_prefix('[').and_then(|text| text.strip_suffix(']')) {
        Some(inside) => inside.parse().ok().map(IpAddr::V6),
        None => text.parse().ok(),
    }
}
