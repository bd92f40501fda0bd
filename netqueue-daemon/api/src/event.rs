//! Responses with single drops and resets, and with the clients that met most of them.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{EventKind, Queue};

/// Response of `/api/v1/events`.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Events {
    /// Newest first; oldest first with `order=asc`.
    pub events: Vec<Event>,
    /// Cursor of the next page; null at the end.
    #[serde(default)]
    pub next: Option<String>,
    /// Sequence number below which events were evicted that may have matched; null if none was.
    #[serde(default)]
    pub truncated_before: Option<u64>,
}

/// One drop or reset.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Event {
    /// Sequence number among all events: rising, without gaps unless a gap is reported.
    pub seq: u64,
    /// Time at which the kernel dropped the packet or sent the reset, RFC 3339.
    pub time: String,
    /// Time in nanoseconds since the epoch.
    /// A string, because the value exceeds the exact range of JSON numbers.
    #[serde(default)]
    pub time_ns: String,
    /// Kind: `drop` or `reset`.
    #[schema(value_type = String)]
    pub kind: EventKind,
    /// Id of the account charged, see `/api/v1/listeners`.
    /// Null if this run of the daemon has no such account, as for events of earlier runs.
    pub listener: Option<String>,
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
    /// Local port.
    pub port: Option<u16>,
    /// Process that owns the listener; empty if unknown.
    #[serde(default)]
    pub process: String,
    /// Peer that sent the packet or was reset; null if unknown.
    pub peer: Option<Peer>,
    /// Packet of the handshake that was dropped: `syn`, `ack` or `cookie_ack`; null for resets.
    pub stage: Option<String>,
    /// Cause of the drop or reset; the query parameter `cause` lists all of them.
    pub cause: String,
    /// Reset reason of the kernel: name of an `sk_rst_reason` without its prefix.
    /// Null for drops, and before Linux 6.10.
    #[serde(default)]
    pub kernel_reason: Option<String>,
    /// Accept queue at that moment; null if unknown.
    pub accept_queue: Option<Queue>,
    /// SYN queue at that moment; null if unknown.
    pub syn_queue: Option<Queue>,
    /// CPU on which it happened.
    #[serde(default)]
    pub cpu: u32,
    /// Seconds since the final ACK was dropped, for a reset of an expired handshake; else null.
    #[serde(default)]
    pub age_seconds: Option<f64>,
}

/// Other end of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Peer {
    /// IP address.
    #[schema(value_type = String)]
    pub addr: IpAddr,
    /// Port.
    pub port: u16,
}

/// Message of a stream: events that this client did not get.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Lost {
    /// Number of events; null if unknown.
    pub events: Option<u64>,
    /// Reason. `evicted`: they were evicted before they could be sent.
    /// `restart`: they belong to another run of the daemon. Otherwise a reason of `events.lost` in
    /// `/api/v1/status`.
    pub reason: String,
}

/// Message of a stream: reason why it ends.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Ended {
    /// `stopping`: the daemon stops. `slow`: the client did not read fast enough.
    pub reason: String,
    /// Reason in words.
    pub detail: String,
}

/// Response of `/api/v1/peers`.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Peers {
    /// Addresses, the one with most events first.
    pub peers: Vec<PeerCount>,
    /// Number of distinct addresses among the events that match.
    pub addresses: u64,
    /// Number of events that match and have a peer.
    pub events: u64,
    /// Sequence number below which events were evicted that may have matched; null if none was.
    #[serde(default)]
    pub truncated_before: Option<u64>,
}

/// One client address.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PeerCount {
    /// IP address.
    #[schema(value_type = String)]
    pub addr: IpAddr,
    /// Number of packets from this address that were dropped.
    pub drops: u64,
    /// Number of resets sent to this address.
    pub resets: u64,
    /// Most frequent cause.
    pub cause: String,
    /// Time of the newest event, RFC 3339.
    pub last: String,
}
