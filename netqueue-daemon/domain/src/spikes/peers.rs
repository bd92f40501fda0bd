//! Whom a spike met, in bounded memory.

use std::{collections::HashSet, net::IpAddr};

use crate::Peer;

/// Distinct peers are told apart up to this many.
const MOST: usize = 8192;

/// How many clients were seen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PeerCount {
    /// Distinct addresses.
    pub addresses: u64,
    /// Distinct addresses with ports: connections that were attempted, each once however often it was repeated.
    pub connections: u64,
    /// Whether there may be more: events are missing, or more were met than are told apart.
    pub at_least: bool,
}

/// Those seen.
#[derive(Clone, Debug, Default)]
pub(super) struct Peers {
    addresses: HashSet<IpAddr>,
    connections: HashSet<(IpAddr, u16)>,
    events: u64,
    full: bool,
}

impl Peers {
    /// A drop of a packet of this peer.
    pub(super) fn meet(&mut self, peer: Option<Peer>) {
        self.events += 1;
        let Some(Peer { addr, port }) = peer else { return };
        if self.connections.len() < MOST {
            // Of a connection that was met before, the address was too.
            if self.connections.insert((addr, port)) {
                self.addresses.insert(addr);
            }
        } else if !self.connections.contains(&(addr, port)) {
            self.full = true;
        }
    }

    /// How many, where so many packets were dropped.
    pub(super) fn count(&self, drops: u64) -> PeerCount {
        PeerCount {
            addresses: self.addresses.len() as u64,
            connections: self.connections.len() as u64,
            at_least: self.full || self.events < drops,
        }
    }
}
