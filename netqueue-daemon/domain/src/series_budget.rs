//! Series budget, which decides which accounts have a series of their own. As many addresses and ports
//! get one as allowed. The decision is made when an account is opened and kept, so that no count moves from
//! one living series to another.

use std::{collections::HashMap, net::IpAddr};

use super::{AccountKey, Netns};

/// Key that makes accounts one series.
type SeriesKey = (Netns, Option<IpAddr>, Option<u16>);

/// Returns the series of an account.
const fn place(key: &AccountKey) -> SeriesKey {
    (key.netns(), key.addr(), key.port())
}

/// Series in use.
#[derive(Debug)]
pub(super) struct SeriesBudget {
    most: usize,
    /// Keys of the series; true if a listener ever had it.
    taken: HashMap<SeriesKey, bool>,
    /// Number of series that no listener ever had.
    silent: usize,
}

impl SeriesBudget {
    pub(super) fn new(most: usize) -> Self {
        Self { most, taken: HashMap::new(), silent: 0 }
    }

    /// Returns whether a new account gets a series of its own: the existing one of its key, or a free one.
    /// Ports without a listener get a quarter of all series at most, because a port scan must not use up
    /// those of listeners to come.
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

    /// Returns whether less than a quarter of the series is free.
    pub(super) fn are_scarce(&self) -> bool {
        self.taken.len() > self.most - self.most / 4
    }

    /// Frees all series but those of these accounts.
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
        let mut places = SeriesBudget::new(2);
        let admitted =
            [listener(1, 1), listener(2, 2), listener(3, 3), listener(4, 1)].map(|key| places.admit(&key));
        assert_eq!(admitted, [true, true, false, true]);
        assert!(!places.admit(&AccountKey::Other(Netns::at_attach(1))));
    }

    #[test]
    fn a_port_scan_does_not_take_the_places_of_listeners() {
        let mut places = SeriesBudget::new(8);
        let scanned = (1..=100).filter(|port| places.admit(&AccountKey::Endpoint(at(*port)))).count();
        assert_eq!(scanned, 2);
        assert!(places.admit(&listener(1, 8080)));
    }

    #[test]
    fn places_of_what_is_gone_are_free_again() {
        let mut places = SeriesBudget::new(1);
        assert!(places.admit(&listener(1, 1)) && !places.admit(&listener(2, 2)));
        places.keep([].iter());
        assert!(places.admit(&listener(3, 2)));
    }
}
