//! Accounts: listeners, endpoints without one, pools of client ports, and buckets of what did not fit.

use std::{collections::BTreeMap, net::IpAddr};

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{Series, Socket, Traffic};

/// `/api/v1/listeners`.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Listeners {
    /// One row for each account.
    pub listeners: Vec<Listener>,
    /// How many match, of which `listeners` may be the first.
    #[serde(default)]
    pub total: u64,
}

/// `/api/v1/listeners/{id}`.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct ListenerDetail {
    /// The account.
    pub listener: Listener,
    /// What happened to it, by second over the last 15 minutes, each measure that is not 0.
    pub history: Vec<Series>,
    /// Before this moment the history is not known, RFC 3339.
    pub history_since: String,
}

/// One account.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Listener {
    /// Its name while the daemon runs.
    pub id: String,
    /// `listener`, `endpoint` (a local address and port without one), `ephemeral` (an address's client ports), `other` or
    /// `gone` (the sum of what is long closed).
    pub kind: String,
    /// The namespace's name: `host`, or its inode number.
    pub netns: String,
    /// The namespace's inode number.
    #[serde(default)]
    pub netns_inode: u32,
    /// Which of the namespaces that had the number: 0 was there when netqueue attached.
    #[serde(default)]
    pub netns_generation: u32,
    /// Its address, where it has one.
    #[schema(value_type = Option<String>)]
    pub addr: Option<IpAddr>,
    /// Its port, where it has one.
    pub port: Option<u16>,
    /// `ipv4` or `ipv6`, by the address.
    #[serde(default)]
    pub family: Option<String>,
    /// The process that holds it; empty while unknown.
    #[serde(default)]
    pub process: String,
    /// What the inventory knows of the socket; null for what is no listener, or has not been found.
    #[serde(default)]
    pub listener: Option<Socket>,
    /// Connections waiting for accept(); the queue holds one more than its limit.
    pub accept_queue: Option<Queue>,
    /// Handshakes in progress.
    pub syn_queue: Option<Queue>,
    /// What went through it; null for what is no listener, and in a recording that does not tell.
    #[serde(default)]
    pub traffic: Option<Traffic>,
    /// SYNs and ACKs dropped: its part of ListenDrops.
    pub drops: Drops,
    /// Resets sent: its part of OutRsts.
    pub resets: Resets,
    /// What became of handshakes whose final ACK was dropped.
    #[serde(default)]
    pub handshakes: Handshakes,
    /// Clients that believe they are connected.
    #[serde(default)]
    pub ghosts: Ghosts,
    /// Calls of the BPF SYN-cookie helper (bpf_tcp_gen_syncookie) that found its accept queue full: the kernel counts them in
    /// ListenOverflows, and not in ListenDrops, since the listener dropped nothing.
    #[serde(default)]
    pub syncookie_helper_overflows: u64,
    /// How many of the drops and resets have an event of their own.
    #[serde(default)]
    pub events: EventShare,
    /// Its parts of the kernel's counters.
    #[serde(default)]
    pub counters: BTreeMap<String, u64>,
    /// When it was first charged or found, RFC 3339.
    #[serde(default)]
    pub first_seen: Option<String>,
    /// When its counts last moved, RFC 3339.
    #[serde(default)]
    pub last_seen: Option<String>,
    /// When it was closed, RFC 3339; null while it listens.
    #[serde(default)]
    pub closed: Option<String>,
}

/// Length and limit of a queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Queue {
    /// Entries.
    pub length: u32,
    /// The setting it is compared with.
    pub limit: u32,
}

/// SYNs and ACKs dropped.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Drops {
    /// All of them.
    pub total: u64,
    /// Those that happened, by cause and stage.
    pub by_cause: Vec<DropCount>,
}

/// Drops for one cause at one stage.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct DropCount {
    /// Why.
    pub cause: String,
    /// Where in the handshake: `syn`, `ack` or `cookie_ack`.
    pub stage: String,
    /// How often.
    pub count: u64,
}

/// Resets sent.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Resets {
    /// All of them.
    pub total: u64,
    /// Those that happened, by cause.
    pub by_cause: Vec<ResetCount>,
}

/// Resets for one cause.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ResetCount {
    /// Why.
    pub cause: String,
    /// How often.
    pub count: u64,
}

/// A cause's part of a total, of drops and of resets alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Part<'a> {
    /// Why.
    pub cause: &'a str,
    /// Where in the handshake; resets have none.
    pub stage: Option<&'a str>,
    /// How often.
    pub count: u64,
}

impl Drops {
    /// Its parts, the largest first.
    #[must_use]
    pub fn parts(&self) -> Vec<Part<'_>> {
        let parts = self.by_cause.iter();
        largest_first(parts.map(|part| Part {
            cause: &part.cause,
            stage: Some(&part.stage),
            count: part.count,
        }))
    }
}

impl Resets {
    /// Its parts, the largest first.
    #[must_use]
    pub fn parts(&self) -> Vec<Part<'_>> {
        let parts = self.by_cause.iter();
        largest_first(parts.map(|part| Part { cause: &part.cause, stage: None, count: part.count }))
    }
}

fn largest_first<'a>(parts: impl Iterator<Item = Part<'a>>) -> Vec<Part<'a>> {
    let mut parts: Vec<_> = parts.collect();
    parts.sort_by_key(|part| std::cmp::Reverse(part.count));
    parts
}

/// Handshakes whose final ACK was dropped while the listener kept the request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct Handshakes {
    /// So many.
    pub suspended: u64,
    /// Of these: completed by a later ACK.
    pub recovered: u64,
    /// Of these: ended by a reset the listener sent.
    pub ended: u64,
    /// Of these: given up by the client, with a reset.
    pub given_up: u64,
    /// Of these: given up by the listener, its SYN-ACKs being used up.
    pub timed_out: u64,
    /// Of those timed out: spoke later, and were answered with a reset.
    pub expired: u64,
    /// Of the suspended: without an outcome, that is still under way, or forgotten (`ledger` in the status).
    /// `suspended = recovered + ended + given_up + timed_out + unresolved`
    pub unresolved: u64,
}

/// Clients that believe they are connected and of which the listener knows nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct Ghosts {
    /// Still.
    pub live: u64,
    /// Ever.
    pub total: u64,
    /// Let in after all.
    pub recovered: u64,
    /// Answered with a reset.
    pub ended: u64,
    /// Given up by the client, with a reset.
    pub given_up: u64,
}

/// How many drops and resets have an event of their own: `total = shown + suppressed + lost`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct EventShare {
    /// That happened: drops and resets together.
    pub total: u64,
    /// That were sent, whether or not they are still held.
    pub shown: u64,
    /// That were not, because the listener had used up its allowance.
    pub suppressed: u64,
    /// That were not, because the ring buffer was full.
    pub lost: u64,
}
