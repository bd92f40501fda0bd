//! Which accounts have a series of their own: as many addresses and ports as allowed, decided when an account is opened
//! and kept, so that no count moves from one living series to another.

use std::{collections::HashMap, net::IpAddr};

use super::{AccountKey, Netns};

/// What makes accounts one series.
type Place = (Netns, Option<IpAddr>, Option<u16>);

/// Where an account's series is.
const fn place(key: &AccountKey) -> Place {
    (key.netns(), key.addr(), key.port())
}

/// The places that are taken.
#[derive(Debug)]
pub(super) struct Places {
    most: usize,
    /// Whether a listener was ever there.
    taken: HashMap<Place, bool>,
    /// Where none was.
    silent: usize,
}

impl Places {
    pub(super) fn new(most: usize) -> Self {
        Self { most, taken: HashMap::new(), silent: 0 }
    }

    /// Whether this account, which is new, has a place of its own: that of others at the same address and port, or one
    /// that is free. Ports nobody listens on get a quarter at most: a port scan must not take the places of listeners to
    /// come.
    pub(super) fn admit(&mut self, key: &AccountKey) -> bool {
        let listener = match key {
            AccountKey::Listener { .. } => true,
            AccountKey::Endpoint(_) | AccountKey::Ephemeral { .. } => false,
            AccountKey::Other(_) | AccountKey::Gone(_) => return false,
        };
        if let Some(listened) = self.taken.get_mut(&place(key)) {
            self.silent -= usize::from(listener && !*listened);
            *listened |= listener;
            return true;
        }
        let room = self.taken.len() < self.most && (listener || self.silent < self.most.div_ceil(4));
        if room {
            self.taken.insert(place(key), listener);
            self.silent += usize::from(!listener);
        }
        room
    }

    /// Whether less than a quarter is free.
    pub(super) fn are_scarce(&self) -> bool {
        self.taken.len() > self.most - self.most / 4
    }

    /// Only these are left.
    pub(super) fn keep<'a>(&mut self, keys: impl Iterator<Item = &'a AccountKey>) {
        self.taken.clear();
        for key in keys {
            *self.taken.entry(place(key)).or_default() |= matches!(key, AccountKey::Listener { .. });
        }
        self.silent = self.taken.values().filter(|listened| !**listened).count();
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;
    use crate::{Endpoint, SocketId};

    fn at(port: u16) -> Endpoint {
        Endpoint { netns: Netns::at_attach(1), addr: Ipv4Addr::UNSPECIFIED.into(), port }
    }

    fn listener(socket: u64, port: u16) -> AccountKey {
        AccountKey::Listener { socket: SocketId(socket), at: at(port) }
    }

    #[test]
    fn beyond_the_cap_only_members_of_a_series_that_is_there_join_it() {
        let mut places = Places::new(2);
        let admitted =
            [listener(1, 1), listener(2, 2), listener(3, 3), listener(4, 1)].map(|key| places.admit(&key));
        assert_eq!(admitted, [true, true, false, true]);
        assert!(!places.admit(&AccountKey::Other(Netns::at_attach(1))));
    }

    #[test]
    fn a_port_scan_does_not_take_the_places_of_listeners() {
        let mut places = Places::new(8);
        let scanned = (1..=100).filter(|port| places.admit(&AccountKey::Endpoint(at(*port)))).count();
        assert_eq!(scanned, 2);
        assert!(places.admit(&listener(1, 8080)));
    }

    #[test]
    fn places_of_what_is_gone_are_free_again() {
        let mut places = Places::new(1);
        assert!(places.admit(&listener(1, 1)) && !places.admit(&listener(2, 2)));
        places.keep([].iter());
        assert!(places.admit(&listener(3, 2)));
    }
}
