//! Peers that a spike met, in bounded memory.

use std::{collections::HashSet, net::IpAddr};

use crate::Peer;

/// Maximum number of distinct peers.
const MOST: usize = 8192;

/// Number of clients seen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PeerCount {
    /// Distinct addresses.
    pub addresses: u64,
    /// Distinct addresses with ports: attempted connections, each once however often it was repeated.
    pub connections: u64,
    /// True if there may be more, because events are missing or the maximum was reached.
    pub at_least: bool,
}

/// Peers seen so far.
#[derive(Clone, Debug, Default)]
pub(super) struct Peers {
    addresses: HashSet<IpAddr>,
    connections: HashSet<(IpAddr, u16)>,
    events: u64,
    full: bool,
}

impl Peers {
    /// Adds the peer of a dropped packet.
    pub(super) fn meet(&mut self, peer: Option<Peer>) {
        self.events += 1;
        let Some(Peer { addr, port }) = peer else { return };
        if self.connections.len() < MOST {
            // The address of a connection that was met before has been counted, too.
            if self.connections.insert((addr, port)) {
                self.addresses.insert(addr);
            }
        } else if !self.connections.contains(&(addr, port)) {
            self.full = true;
        }
    }

    /// Returns the number of peers of so many dropped packets.
    pub(super) fn count(&self, drops: u64) -> PeerCount {
        PeerCount {
            addresses: self.addresses.len() as u64,
            connections: self.connections.len() as u64,
            at_least: self.full || self.events < drops,
        }
    }
}
