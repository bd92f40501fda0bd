//! Responses about accounts: listeners, endpoints without one, ephemeral ports, `other` buckets and
//! `gone` aggregates.

use std::{
    cmp::Reverse,
    collections::BTreeMap,
    net::{IpAddr, SocketAddr},
};

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{AccountKind, OwnerState, Series, Socket, Traffic};

/// Response of `/api/v1/listeners`.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Listeners {
    /// Accounts that match, in the order of `sort`.
    pub listeners: Vec<Listener>,
    /// Number of accounts that match; `listeners` has the first of them up to `limit`.
    #[serde(default)]
    pub total: u64,
}

/// Response of `/api/v1/listeners/{id}`.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct ListenerDetail {
    /// Account with that id.
    pub listener: Listener,
    /// Values for each second of the last 15 minutes, one series for each measure that is not 0 throughout.
    pub history: Vec<Series>,
    /// Start of the recorded history, RFC 3339: earlier values are missing, not 0.
    pub history_since: String,
}

/// One account: a set of exact counts to which drops and resets are charged.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Listener {
    /// Id of the account, valid while the daemon runs.
    pub id: String,
    /// Kind of account. `listener`: one listening socket.
    /// `endpoint`: a local address and port that sent resets which concern no listener. `ephemeral`: all
    /// client ports of a local address. `other`: drops and resets of the network namespace that found no free
    /// slot. `gone`: the sum of accounts that ended long ago.
    #[schema(value_type = String)]
    pub kind: AccountKind,
    /// Name of the network namespace: `host`, the name of a file bound to it, the short id of its
    /// container, or its inode number.
    pub netns: String,
    /// Inode number of the network namespace.
    #[serde(default)]
    pub netns_inode: u32,
    /// Generation, which distinguishes network namespaces that had the same inode number.
    /// 0 existed when netqueue attached.
    #[serde(default)]
    pub netns_generation: u32,
    /// Local address; null if the account has none.
    #[schema(value_type = Option<String>)]
    pub addr: Option<IpAddr>,
    /// Local port; null if the account has none.
    pub port: Option<u16>,
    /// Address family of `addr`: `ipv4` or `ipv6`.
    #[serde(default)]
    pub family: Option<String>,
    /// Process that owns the listener; empty if unknown.
    #[serde(default)]
    pub process: String,
    /// Socket of the listener; null if the account is not a listener or its socket has not been found.
    #[serde(default)]
    pub listener: Option<Socket>,
    /// State of the listener's owners when connections last waited for accept(); null if none ever waited
    /// long enough, or the owners are unknown.
    #[serde(default)]
    pub owner_state: Option<OwnerState>,
    /// Connections that wait for accept(). With a limit of n the queue takes n + 1 connections.
    pub accept_queue: Option<Queue>,
    /// Handshakes in progress.
    pub syn_queue: Option<Queue>,
    /// Connections, waits and peaks of the listener; null for other accounts and for recordings without
    /// these data.
    #[serde(default)]
    pub traffic: Option<Traffic>,
    /// SYNs and ACKs dropped: the account's part of ListenDrops.
    pub drops: Drops,
    /// Resets sent: the account's part of OutRsts.
    pub resets: Resets,
    /// Resets of connections that the listener took, by cause. They are charged to accounts of kind
    /// `endpoint`, and shown here as well. Members of an SO_REUSEPORT group all have those of the whole
    /// group.
    #[serde(default)]
    pub connection_resets: Resets,
    /// Outcomes of handshakes whose final ACK was dropped while the listener kept the request socket.
    #[serde(default)]
    pub handshakes: Handshakes,
    /// Clients that consider themselves connected although the listener has no state for them.
    #[serde(default)]
    pub ghosts: Ghosts,
    /// Calls of the BPF helper bpf_tcp_gen_syncookie that found the accept queue full.
    /// The kernel counts them in ListenOverflows, and not in ListenDrops because the listener dropped
    /// nothing.
    #[serde(default)]
    pub syncookie_helper_overflows: u64,
    /// Share of the drops and resets that have an event of their own.
    #[serde(default)]
    pub events: EventShare,
    /// Account's part of each kernel counter, by the counter's name.
    #[serde(default)]
    pub counters: BTreeMap<String, u64>,
    /// Time when the account was first charged or found, RFC 3339.
    #[serde(default)]
    pub first_seen: Option<String>,
    /// Time when the counts last changed, RFC 3339.
    #[serde(default)]
    pub last_seen: Option<String>,
    /// Time when the listener was closed, RFC 3339; null while it listens.
    #[serde(default)]
    pub closed: Option<String>,
}

/// Length and limit of a queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Queue {
    /// Number of entries.
    pub length: u32,
    /// Limit with which the kernel compares the length.
    pub limit: u32,
}

impl Queue {
    /// Returns whether an accept queue takes no more connections.
    /// With a limit of n it takes n + 1 (include/net/sock.h `sk_acceptq_is_full`).
    #[must_use]
    pub const fn is_full(&self) -> bool {
        self.length > self.limit
    }
}

/// SYNs and ACKs dropped.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Drops {
    /// Sum over all causes and stages.
    pub total: u64,
    /// Counts that are not 0, by cause and stage.
    pub by_cause: Vec<DropCount>,
}

/// Drops for one cause at one stage.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct DropCount {
    /// Cause of the drops.
    pub cause: String,
    /// Packet of the handshake that was dropped: `syn`, `ack` or `cookie_ack`.
    pub stage: String,
    /// Number of drops.
    pub count: u64,
}

/// Resets sent.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Resets {
    /// Sum over all causes.
    pub total: u64,
    /// Counts that are not 0, by cause.
    pub by_cause: Vec<ResetCount>,
}

/// Resets for one cause.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ResetCount {
    /// Cause of the resets.
    pub cause: String,
    /// Number of resets.
    pub count: u64,
}

/// Part of a total that one cause has: drops and resets in a common form, so that clients print both
/// alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Part<'a> {
    /// Cause of the drops or resets.
    pub cause: &'a str,
    /// Packet of the handshake that was dropped; `None` for resets.
    pub stage: Option<&'a str>,
    /// Number of drops or resets.
    pub count: u64,
}

impl Listener {
    /// Returns the value of a kernel counter by the kernel's name for it; 0 if the response lacks it.
    #[must_use]
    pub fn counter(&self, name: &str) -> u64 {
        self.counters.get(name).copied().unwrap_or(0)
    }

    /// Returns whether any kernel counter is above zero.
    #[must_use]
    pub fn counted_anything(&self) -> bool {
        self.counters.values().any(|value| *value > 0)
    }

    /// Returns whether this account is the listener at `address`.
    #[must_use]
    pub fn is_listener_at(&self, address: SocketAddr) -> bool {
        self.kind == AccountKind::Listener
            && self.port == Some(address.port())
            && self.addr == Some(address.ip())
    }
}

impl Part<'_> {
    /// Sorts parts by their counts, the largest first.
    #[must_use]
    pub fn largest_first(parts: impl Iterator<Item = Self>) -> Vec<Self> {
        let mut parts: Vec<_> = parts.collect();
        parts.sort_by_key(|part| Reverse(part.count));
        parts
    }

    /// Returns the part with the largest count.
    #[must_use]
    pub fn largest(parts: impl Iterator<Item = Self>) -> Option<Self> {
        parts.max_by_key(|part| part.count)
    }
}

impl Drops {
    /// Returns the counts by cause and stage.
    pub fn parts(&self) -> impl Iterator<Item = Part<'_>> {
        self.by_cause.iter().map(|part| Part {
            cause: &part.cause,
            stage: Some(&part.stage),
            count: part.count,
        })
    }
}

impl Resets {
    /// Returns the counts by cause.
    pub fn parts(&self) -> impl Iterator<Item = Part<'_>> {
        self.by_cause.iter().map(|part| Part { cause: &part.cause, stage: None, count: part.count })
    }
}

/// Outcomes of handshakes whose final ACK was dropped while the listener kept the request socket.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct Handshakes {
    /// Number of such handshakes. Each counts once, however often its ACK is dropped.
    pub suspended: u64,
    /// Suspended handshakes that a later ACK completed.
    pub recovered: u64,
    /// Suspended handshakes that ended with a reset from the listener while it had the request socket.
    pub ended: u64,
    /// Suspended handshakes that the client gave up with a reset.
    pub given_up: u64,
    /// Suspended handshakes that the listener gave up because its SYN-ACK retries were used up.
    pub timed_out: u64,
    /// Timed-out handshakes whose client sent a packet later and was reset.
    pub expired: u64,
    /// Suspended handshakes without an outcome: in progress, listener closed, or forgotten.
    /// `dropped_ack_cache` in `/api/v1/status` says how many may be forgotten.
    /// `suspended = recovered + ended + given_up + timed_out + unresolved`
    pub unresolved: u64,
}

/// Clients that consider themselves connected although the listener has no state for them.
/// The listener had dropped the final ACK that returned their SYN cookie. `total = recovered + ended +
/// given_up + live`
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct Ghosts {
    /// Ghosts that have no outcome yet. Clients that vanished stay live, as no timer ends a ghost.
    pub live: u64,
    /// Number of clients that ever became ghosts.
    pub total: u64,
    /// Ghosts that a later ACK got admitted.
    pub recovered: u64,
    /// Ghosts that sent a packet and were reset.
    pub ended: u64,
    /// Ghosts that the client gave up with a reset.
    pub given_up: u64,
}

/// Drops and resets by whether they have an event of their own: `total = shown + suppressed + lost`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct EventShare {
    /// Number of drops and resets.
    pub total: u64,
    /// Drops and resets whose event was sent, kept or evicted since.
    pub shown: u64,
    /// Drops and resets without an event because the account had exceeded its rate limit.
    pub suppressed: u64,
    /// Drops and resets without an event because the ring buffer was full.
    pub lost: u64,
}
