//! Inference of a server's idle time-out from idle connections that it was seen to close.

use std::{
    collections::{HashMap, VecDeque},
    net::SocketAddr,
    time::Duration,
};

use serde::{Deserialize, Serialize};

use super::{Netns, Timestamp};

/// Idle time after which a server closes a connection, as inferred from its closings.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct IdleLimit {
    /// Lower bound of the idle time.
    pub least: Duration,
    /// Upper bound of the idle time.
    pub most: Duration,
    /// Number of closed connections that agree with both bounds.
    pub connections: u32,
}

/// State of one connection of a server, as one pass reads it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sighting {
    /// Established; the time since data last went either way.
    Idle(Duration),
    /// Closed by the server, and not by the client before.
    ClosedHere,
}

/// Reset of one connection, on which data arrived after the server had closed it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LateData {
    /// Namespace of the server.
    pub netns: Netns,
    /// Port of the server.
    pub port: u16,
    /// Remote end of the connection.
    pub peer: SocketAddr,
    /// Time of the reset.
    pub at: Timestamp,
}

/// Observations of one server's connections.
#[derive(Clone, Debug, Default)]
pub struct IdleClosings {
    /// Idle time of each open connection and when it was read, by the remote end.
    open: HashMap<SocketAddr, (Duration, Timestamp)>,
    /// Idle time of connections that no later pass found.
    vanished: HashMap<SocketAddr, (Duration, Timestamp)>,
    /// Minimum and maximum idle time of each connection that the server closed.
    closed: VecDeque<(Duration, Duration)>,
}

/// Maximum number of closings remembered.
const CLOSINGS: usize = 64;
/// Maximum number of connections followed at once.
const CONNECTIONS: usize = 4096;
/// Minimum idle time that counts: a server that closes sooner does so because it is done.
const SOONEST: Duration = Duration::from_millis(500);
/// Time for which a vanished connection is remembered: the news of its reset comes later.
const NEWS_WITHIN: Duration = Duration::from_secs(15);
/// Number of agreeing closings that are no coincidence.
const ENOUGH: u32 = 3;

impl IdleClosings {
    /// Takes in one pass over all connections of the server.
    pub fn look(&mut self, seen: impl IntoIterator<Item = (SocketAddr, Sighting)>, now: Timestamp) {
        let mut open = HashMap::new();
        for (peer, sighting) in seen {
            match sighting {
                Sighting::Idle(idle) if open.len() < CONNECTIONS => {
                    open.insert(peer, (idle, now));
                }
                Sighting::Idle(_) => {}
                // Between two passes the connection may have been used again, and then was idle for less: one
                // closing proves nothing, several that agree do.
                Sighting::ClosedHere => {
                    if let Some(seen) = self.open.remove(&peer) {
                        self.add(seen, now);
                    }
                }
            }
        }
        self.vanished.retain(|_, (_, when)| now.since(*when) < NEWS_WITHIN);
        for (peer, seen) in self.open.drain().filter(|(peer, _)| !open.contains_key(peer)) {
            if self.vanished.len() < CONNECTIONS {
                self.vanished.insert(peer, seen);
            }
        }
        self.open = open;
    }

    /// Takes in that data from `peer` was answered with a reset at `at`, because the server had closed.
    /// The reset ends the connection at once, so no pass may have seen it closed.
    pub fn late_data(&mut self, peer: SocketAddr, at: Timestamp) {
        // What was read after the reset is another connection, of the same port.
        let before = |(_, when): &(Duration, Timestamp)| *when <= at;
        let ended = match self.open.get(&peer).is_some_and(before) {
            true => &mut self.open,
            false => &mut self.vanished,
        };
        if let Some(seen) = ended.remove(&peer).filter(before) {
            self.add(seen, at);
        }
    }

    /// Adds the closing, before `closed`, of a connection that had been idle for a time when it was read.
    fn add(&mut self, (idle, when): (Duration, Timestamp), closed: Timestamp) {
        if idle >= SOONEST {
            self.closed.push_back((idle, idle + closed.since(when)));
        }
        while self.closed.len() > CLOSINGS {
            self.closed.pop_front();
        }
    }

    /// Returns the time-out that most closings agree on, or `None` while too few do.
    #[must_use]
    pub fn limit(&self) -> Option<IdleLimit> {
        let covering =
            |at: Duration| self.closed.iter().filter(move |(least, most)| (*least..=*most).contains(&at));
        // A time that most intervals contain is the beginning of one of them.
        let (at, connections) = self
            .closed
            .iter()
            .map(|(least, _)| (*least, covering(*least).count()))
            .max_by_key(|(_, count)| *count)?;
        let connections = u32::try_from(connections).ok().filter(|count| *count >= ENOUGH)?;
        let least = covering(at).map(|(least, _)| *least).max()?;
        let most = covering(at).map(|(_, most)| *most).min()?;
        Some(IdleLimit { least, most, connections })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    fn peer(port: u16) -> SocketAddr {
        SocketAddr::from(([10, 0, 0, 9], port))
    }

    /// Reads connections, which fall idle one after the other, every 800 ms.
    fn watched(limit: Duration, apart: Duration, number: u16) -> IdleClosings {
        let mut closings = IdleClosings::default();
        let mut now = Duration::ZERO;
        while now < apart * u32::from(number) + limit + ms(2000) {
            let seen = (1..=number).filter_map(|port| {
                let idle = now.checked_sub(apart * u32::from(port))?;
                let sighting = if idle < limit { Sighting::Idle(idle) } else { Sighting::ClosedHere };
                Some((peer(port), sighting))
            });
            closings.look(seen, Timestamp::from_nanos(u64::try_from(now.as_nanos()).expect("a short time")));
            now += ms(800);
        }
        closings
    }

    #[test]
    fn eight_connections_closed_after_two_seconds_tell_the_time_out_to_a_fraction_of_a_second() {
        let limit = watched(ms(2000), ms(130), 8).limit().expect("eight agree");
        assert!(limit.least <= ms(2000) && ms(2000) <= limit.most, "{limit:?}");
        assert!(limit.most - limit.least < ms(300) && limit.connections == 8, "{limit:?}");
    }

    #[test]
    fn nginxs_sixty_five_seconds_are_told_from_apaches_five() {
        let limit = watched(ms(65_000), ms(1700), 20).limit().expect("twenty agree");
        assert!((ms(64_000)..=ms(65_000)).contains(&limit.least) && limit.most < ms(66_000), "{limit:?}");
        let limit = watched(ms(5000), ms(310), 10).limit().expect("ten agree");
        assert!((ms(4500)..=ms(5000)).contains(&limit.least) && limit.most < ms(5500), "{limit:?}");
    }

    #[test]
    fn a_server_that_closes_after_each_answer_has_no_idle_time_out() {
        assert_eq!(watched(ms(20), ms(130), 30).limit(), None);
    }

    #[test]
    fn closings_that_agree_outweigh_those_for_other_reasons() {
        let mut closings = watched(ms(2000), ms(130), 8);
        closings.closed.extend([(ms(900), ms(1100)), (ms(1200), ms(1300))]);
        let limit = closings.limit().expect("eight agree");
        assert!(limit.least <= ms(2000) && ms(2000) <= limit.most, "{limit:?}");
    }

    #[test]
    fn a_close_that_only_the_reset_shows_counts_and_a_later_connection_from_the_same_port_does_not() {
        let at = |millis: u64| Timestamp::from_nanos(millis * 1_000_000);
        let mut closings = IdleClosings::default();
        for port in 1..=4 {
            closings.look([(peer(port), Sighting::Idle(ms(1600)))], at(10_000));
            // The client sends 500 ms later, right after the close; the next pass finds nothing.
            closings.look([], at(10_800));
            if port == 4 {
                closings.look([(peer(4), Sighting::Idle(ms(700)))], at(11_000));
            }
            closings.late_data(peer(port), at(10_500));
        }
        let limit = closings.limit().expect("four agree");
        assert_eq!(limit, IdleLimit { least: ms(1600), most: ms(2100), connections: 4 });
        assert!(closings.open.contains_key(&peer(4)), "the new connection is followed");
        closings.look([], at(40_000));
        closings.look([], at(80_000));
        assert!(closings.vanished.is_empty(), "{closings:?}");
    }

    #[test]
    fn one_closing_proves_nothing_and_memory_is_bounded() {
        assert_eq!(watched(ms(2000), ms(130), 1).limit(), None);
        assert!(watched(ms(1000), ms(2), 400).closed.len() <= CLOSINGS);
    }
}
