//! What netqueue says of one network namespace: its answers as types, and the change between two of them.

use std::collections::BTreeMap;
use std::fmt;
use std::net::{IpAddr, SocketAddr};

use anyhow::{Context, Result, bail};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::client::Server;
use super::netstat::{Counter, Counters};

/// More events than any experiment looks at.
const EVENTS: usize = 1000;

#[derive(Deserialize)]
struct Answer<T> {
    status: String,
    data: T,
    #[serde(default)]
    warnings: Vec<serde_json::Value>,
}

#[derive(Deserialize)]
struct Listeners {
    listeners: Vec<Row>,
}

#[derive(Deserialize)]
struct Events {
    events: Vec<Event>,
}

/// One row of `/api/v1/listeners`.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Row {
    pub id: String,
    pub kind: String,
    pub addr: String,
    pub port: u16,
    pub drops: Breakdown,
    pub resets: Breakdown,
    counters: BTreeMap<String, u64>,
}

/// A total and its split.
#[derive(Clone, Debug, Default, Deserialize)]
pub(super) struct Breakdown {
    pub total: u64,
    pub by_cause: Vec<Part>,
}

/// A part of a total.
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
    pub accept_queue: Option<Queue>,
    pub syn_queue: Option<Queue>,
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

/// A queue as it was last seen.
#[derive(Clone, Copy, Debug, Deserialize)]
pub(super) struct Queue {
    pub length: u64,
    pub limit: u64,
}

impl Row {
    pub(super) fn counter(&self, counter: Counter) -> u64 {
        self.counters.get(counter.name()).copied().unwrap_or(0)
    }

    /// Whether it is the listener of that address.
    pub(super) fn is_listener(&self, address: SocketAddr) -> bool {
        self.kind == "listener" && self.port == address.port() && self.addr.parse() == Ok(address.ip())
    }

    fn since(&self, earlier: &Self) -> Self {
        let mut row = self.clone();
        for (name, value) in &mut row.counters {
            *value = value.saturating_sub(earlier.counters.get(name).copied().unwrap_or(0));
        }
        row.drops = self.drops.since(&earlier.drops);
        row.resets = self.resets.since(&earlier.resets);
        row
    }
}

impl fmt::Display for Row {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.addr.parse::<IpAddr>() {
            Ok(ip) => write!(formatter, "{} {}", self.kind, SocketAddr::new(ip, self.port)),
            Err(_) => write!(formatter, "{} {}:{}", self.kind, self.addr, self.port),
        }
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

/// Everything netqueue says of one namespace.
#[derive(Clone, Debug, Default)]
pub(super) struct Observation {
    pub rows: Vec<Row>,
    /// Newest first.
    pub events: Vec<Event>,
    /// What netqueue itself doubts.
    pub warnings: Vec<String>,
}

impl Observation {
    /// Asks the daemon.
    pub(super) fn of(server: &Server, netns: u64) -> Result<Self> {
        let listeners: Answer<Listeners> = ask(server, &format!("/api/v1/listeners?netns={netns}"))?;
        let events: Answer<Events> = ask(server, &format!("/api/v1/events?netns={netns}&limit={EVENTS}"))?;
        let warnings = listeners.warnings.iter().map(ToString::to_string).collect();
        Ok(Self { rows: listeners.data.listeners, events: events.data.events, warnings })
    }

    /// What is new since `earlier`: an inode number can be that of a namespace that is gone.
    pub(super) fn since(&self, earlier: &Self) -> Self {
        let rows = self.rows.iter().map(|row| match earlier.rows.iter().find(|old| old.id == row.id) {
            Some(old) => row.since(old),
            None => row.clone(),
        });
        let last = earlier.events.iter().map(|event| event.seq).max();
        let new = |event: &&Event| last.is_none_or(|last| event.seq > last);
        Self {
            rows: rows.collect(),
            events: self.events.iter().filter(new).cloned().collect(),
            warnings: self.warnings.clone(),
        }
    }

    /// The sum of all rows.
    pub(super) fn sum(&self) -> Counters {
        let mut sum = Counters::default();
        for row in &self.rows {
            for counter in Counter::ALL {
                sum.add(counter, row.counter(counter));
            }
        }
        sum
    }
}

/// Makes sure that it is netqueue that answers.
pub(super) fn greet(server: &Server) -> Result<()> {
    ask::<serde_json::Value>(server, "/api/v1/status").map(drop).with_context(|| {
        format!(
            "no netqueue daemon answers at {}: start it, name its address with --server, or see only what the kernel counts \
             with --no-daemon",
            server.url()
        )
    })
}

fn ask<T: DeserializeOwned>(server: &Server, path: &str) -> Result<Answer<T>> {
    let body = server.get(path)?;
    let answer: Answer<T> = serde_json::from_slice(&body)
        .with_context(|| format!("{}{path} answered something netqueue would not", server.url()))?;
    if answer.status != "success" {
        bail!("{}{path} answered with status {}", server.url(), answer.status);
    }
    Ok(answer)
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A row as the daemon writes it, with `drops` at SYN time because the accept queue was full.
    pub(in crate::lab) fn row(id: &str, port: u16, drops: u64) -> Row {
        let part = serde_json::json!({"cause": "accept_queue_full", "stage": "syn", "count": drops});
        serde_json::from_value(serde_json::json!({
            "id": id, "kind": "listener", "netns": "4026532201", "netns_inode": 4026532201u64, "addr": "0.0.0.0",
            "port": port, "family": "ipv4", "process": "", "accept_queue": {"length": 2, "limit": 1}, "syn_queue": null,
            "drops": {"total": drops, "by_cause": if drops > 0 { vec![part] } else { vec![] }},
            "resets": {"total": 0, "by_cause": []},
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
    fn only_what_is_new_counts_where_an_inode_is_used_again() {
        let earlier = Observation {
            rows: vec![row("7", 8001, 40)],
            events: vec![event(5, 8001, "127.0.0.1:1")],
            ..Default::default()
        };
        let now = Observation {
            rows: vec![row("7", 8001, 40), row("9", 8002, 3)],
            events: vec![event(6, 8002, "127.0.0.1:2"), event(5, 8001, "127.0.0.1:1")],
            ..Default::default()
        };
        let new = now.since(&earlier);
        assert_eq!(new.sum().get(Counter::ListenDrops), 3);
        assert_eq!(new.rows[0].drops.total, 0);
        assert!(new.rows[0].drops.by_cause.is_empty());
        assert_eq!(new.events.len(), 1);
    }

    #[test]
    fn an_ipv4_peer_of_a_dual_stack_listener_is_ipv4() {
        let peer = event(1, 1, "[::ffff:127.0.0.1]:99").peer.unwrap();
        assert_eq!(peer.address(), "127.0.0.1:99".parse().unwrap());
    }
}
