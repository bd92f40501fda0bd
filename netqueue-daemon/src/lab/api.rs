//! Types of netqueue's API answers: rows of listeners, their breakdowns, and events.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::{IpAddr, SocketAddr};

use serde::Deserialize;

use super::counters::Counter;

/// One row of `/api/v1/listeners`.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Row {
    pub id: String,
    pub kind: String,
    /// The namespace's name, which differs between two namespaces that had one inode number in turn.
    pub netns: String,
    pub addr: Option<String>,
    pub port: Option<u16>,
    pub accept_queue: Option<Queue>,
    #[serde(default)]
    pub process: String,
    #[serde(default)]
    pub listener: Option<Details>,
    pub syn_queue: Option<Queue>,
    pub traffic: Option<TrafficRow>,
    pub drops: Breakdown,
    pub resets: Breakdown,
    pub handshakes: Handshakes,
    pub ghosts: Ghosts,
    #[serde(default)]
    pub syncookie_helper_overflows: u64,
    pub events: Told,
    /// Time at which the listener was closed; absent while it listens.
    #[serde(default)]
    pub closed: Option<String>,
    counters: BTreeMap<String, u64>,
}

/// Details of a listener's socket.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Details {
    pub inode: u64,
    pub limit: Limit,
    owners: Option<Vec<Owner>>,
    pub opened: Option<String>,
    pub closed: Option<String>,
}

/// The limit of a listener's accept queue, and its origin.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Limit {
    pub backlog: Option<u32>,
    pub limited_by: String,
    pub listen_argument: Option<i32>,
}

#[derive(Clone, Debug, Deserialize)]
struct Owner {
    pid: u32,
    comm: String,
    ended: bool,
}

impl Details {
    /// The PIDs of all owners, including ended ones, in netqueue's order.
    pub(super) fn pids(&self) -> Vec<u32> {
        self.owners.iter().flatten().map(|owner| owner.pid).collect()
    }

    /// The PIDs and names of the processes that still have the socket open.
    pub(super) fn owners(&self) -> BTreeSet<(u32, String)> {
        let living = self.owners.iter().flatten().filter(|owner| !owner.ended);
        living.map(|owner| (owner.pid, owner.comm.clone())).collect()
    }
}

/// Handshakes whose final ACK was dropped while the listener kept the request, by their outcome.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
pub(super) struct Handshakes {
    pub suspended: u64,
    pub recovered: u64,
    pub ended: u64,
    #[serde(default)]
    pub given_up: u64,
    #[serde(default)]
    pub timed_out: u64,
    pub expired: u64,
    pub unresolved: u64,
}

/// Clients whose connection is established for them and unknown to the listener.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
pub(super) struct Ghosts {
    pub live: u64,
    pub total: u64,
    pub recovered: u64,
    pub ended: u64,
    #[serde(default)]
    pub given_up: u64,
}

/// Number of drops and resets with an event of their own, and the reasons why others have none.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
pub(super) struct Told {
    pub shown: u64,
    pub suppressed: u64,
    pub lost: u64,
}

/// The connections that went through a listener.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct TrafficRow {
    pub established: u64,
    /// Absent, like every field that depends on accept(), if accept() is not observed.
    pub accepted: Option<u64>,
    pub abandoned: Option<u64>,
    pub synack_retransmits: u64,
    pub accept_queue_depth: Option<Distribution>,
    pub accept_wait_seconds: Option<Distribution>,
}

/// A distribution of measured values.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Distribution {
    pub count: u64,
    pub mean: Option<f64>,
    pub p50: Option<f64>,
    pub p90: Option<f64>,
    pub p99: Option<f64>,
}

/// A total and its parts by cause and stage.
#[derive(Clone, Debug, Default, Deserialize)]
pub(super) struct Breakdown {
    pub total: u64,
    pub by_cause: Vec<Part>,
}

/// One part of a total.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Part {
    pub cause: String,
    pub stage: Option<String>,
    pub count: u64,
}

/// One event of `/api/v1/events`.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Event {
    pub seq: u64,
    pub kind: String,
    pub port: u16,
    pub peer: Option<Peer>,
    pub stage: Option<String>,
    pub cause: String,
    /// The kernel's own reason for a reset (from 6.10), if it gives one.
    pub kernel_reason: Option<String>,
    pub accept_queue: Option<Queue>,
    pub syn_queue: Option<Queue>,
    /// Only for a packet after a dropped final ACK: the time since that drop.
    pub age_seconds: Option<f64>,
}

impl fmt::Display for Event {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "#{} {} {}", self.seq, self.kind, self.cause)?;
        if let Some(stage) = &self.stage {
            write!(formatter, " at {stage}")?;
        }
        write!(formatter, " on port {}", self.port)?;
        match &self.peer {
            Some(peer) => write!(formatter, " from {}", peer.address())?,
            None => write!(formatter, " from nobody")?,
        }
        for (name, queue) in [("accept", self.accept_queue), ("SYN", self.syn_queue)] {
            if let Some(Queue { length, limit }) = queue {
                write!(formatter, ", {name} queue {length} of {limit}")?;
            }
        }
        Ok(())
    }
}

/// The other end of a dropped or reset connection.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Peer {
    addr: IpAddr,
    port: u16,
}

impl Peer {
    /// The address, an IPv4 peer of a dual-stack listener as IPv4.
    pub(super) fn address(&self) -> SocketAddr {
        SocketAddr::new(self.addr.to_canonical(), self.port)
    }
}

/// A queue when it was last observed.
#[derive(Clone, Copy, Debug, Deserialize)]
pub(super) struct Queue {
    pub length: u64,
    pub limit: u64,
}

impl Row {
    pub(super) fn counter(&self, counter: Counter) -> u64 {
        self.counters.get(counter.as_str()).copied().unwrap_or(0)
    }

    /// Returns whether this row is the listener at `address`.
    pub(super) fn is_listener(&self, address: SocketAddr) -> bool {
        let addr = || self.addr.as_deref().and_then(|addr| addr.parse().ok());
        self.kind == "listener" && self.port == Some(address.port()) && addr() == Some(address.ip())
    }

    /// Returns whether any counter is above zero.
    pub(super) fn counted_anything(&self) -> bool {
        self.counters.values().any(|value| *value > 0)
    }

    /// Subtracts the values of `earlier`, an older version of this row.
    pub(super) fn since(&self, earlier: &Self) -> Self {
        let mut row = self.clone();
        for (name, value) in &mut row.counters {
            *value = value.saturating_sub(earlier.counters.get(name).copied().unwrap_or(0));
        }
        row.drops = self.drops.since(&earlier.drops);
        row.resets = self.resets.since(&earlier.resets);
        row.handshakes = self.handshakes.since(&earlier.handshakes);
        row.ghosts = self.ghosts.since(&earlier.ghosts);
        let asked = &mut row.syncookie_helper_overflows;
        *asked = asked.saturating_sub(earlier.syncookie_helper_overflows);
        row
    }
}

impl Handshakes {
    const fn since(&self, earlier: &Self) -> Self {
        Self {
            suspended: self.suspended.saturating_sub(earlier.suspended),
            recovered: self.recovered.saturating_sub(earlier.recovered),
            ended: self.ended.saturating_sub(earlier.ended),
            given_up: self.given_up.saturating_sub(earlier.given_up),
            timed_out: self.timed_out.saturating_sub(earlier.timed_out),
            expired: self.expired.saturating_sub(earlier.expired),
            unresolved: self.unresolved.saturating_sub(earlier.unresolved),
        }
    }
}

impl Ghosts {
    const fn since(&self, earlier: &Self) -> Self {
        Self {
            live: self.live.saturating_sub(earlier.live),
            total: self.total.saturating_sub(earlier.total),
            recovered: self.recovered.saturating_sub(earlier.recovered),
            ended: self.ended.saturating_sub(earlier.ended),
            given_up: self.given_up.saturating_sub(earlier.given_up),
        }
    }
}

impl fmt::Display for Row {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let addr = self.addr.as_deref().unwrap_or("any");
        match (addr.parse::<IpAddr>(), self.port) {
            (Ok(ip), Some(port)) => write!(formatter, "{} {}", self.kind, SocketAddr::new(ip, port)),
            (_, _) => write!(formatter, "{} ports of {addr}", self.kind),
        }
    }
}

impl fmt::Display for Breakdown {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, part) in self.by_cause.iter().enumerate() {
            let comma = if index == 0 { "" } else { ", " };
            write!(formatter, "{comma}{} {}", part.count, part.cause)?;
            if let Some(stage) = &part.stage {
                write!(formatter, " at {stage}")?;
            }
        }
        Ok(())
    }
}

impl Breakdown {
    fn since(&self, earlier: &Self) -> Self {
        let before = |part: &Part| {
            let same = |old: &&Part| old.cause == part.cause && old.stage == part.stage;
            earlier.by_cause.iter().find(same).map_or(0, |old| old.count)
        };
        let by_cause = self
            .by_cause
            .iter()
            .map(|part| Part { count: part.count.saturating_sub(before(part)), ..part.clone() })
            .filter(|part| part.count > 0)
            .collect();
        Self { total: self.total.saturating_sub(earlier.total), by_cause }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A row as the daemon writes it, with `drops` at SYN time caused by a full accept queue.
    pub(in crate::lab) fn row(id: &str, port: u16, drops: u64) -> Row {
        let part = serde_json::json!({"cause": "accept_queue_full", "stage": "syn", "count": drops});
        serde_json::from_value(serde_json::json!({
            "id": id, "kind": "listener", "netns": "4026532201", "netns_inode": 4026532201u64, "addr": "0.0.0.0",
            "port": port, "family": "ipv4", "process": "", "accept_queue": {"length": 2, "limit": 1}, "syn_queue": null,
            "drops": {"total": drops, "by_cause": if drops > 0 { vec![part] } else { vec![] }},
            "resets": {"total": 0, "by_cause": []},
            "handshakes": {"suspended": 0, "recovered": 0, "ended": 0, "expired": 0, "unresolved": 0},
            "ghosts": {"live": 0, "total": 0, "recovered": 0, "ended": 0},
            "events": {"total": drops, "shown": drops, "suppressed": 0, "lost": 0},
            "counters": {"ListenOverflows": drops, "ListenDrops": drops, "TCPReqQFullDrop": 0, "TCPReqQFullDoCookies": 0,
                "SyncookiesSent": 0, "EmbryonicRsts": 0, "OutRsts": 0},
            "first_seen": "2026-01-01T00:00:00Z", "last_seen": "2026-01-01T00:00:00Z"
        }))
        .unwrap()
    }

    /// An event as the daemon writes it.
    pub(in crate::lab) fn event(seq: u64, port: u16, peer: &str) -> Event {
        let peer: SocketAddr = peer.parse().unwrap();
        serde_json::from_value(serde_json::json!({
            "seq": seq, "time": "2026-01-01T00:00:00Z", "time_ns": "1790000000000000000", "kind": "drop", "listener": "7",
            "netns": "4026532201", "netns_inode": 4026532201u64, "addr": "0.0.0.0", "port": port,
            "peer": {"addr": peer.ip(), "port": peer.port()}, "stage": "syn", "cause": "accept_queue_full",
            "kernel_reason": null, "accept_queue": {"length": 2, "limit": 1}, "syn_queue": {"length": 0, "limit": 1}, "cpu": 0
        }))
        .unwrap()
    }

    #[test]
    fn an_ipv4_peer_of_a_dual_stack_listener_is_ipv4() {
        let peer = event(1, 1, "[::ffff:127.0.0.1]:99").peer.unwrap();
        assert_eq!(peer.address(), "127.0.0.1:99".parse().unwrap());
    }
}
