//! Single drops and resets, and the clients that met most of them.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::Queue;

/// `/api/v1/events`.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Events {
    /// Newest first, or, after a cursor of `order=asc`, oldest first.
    pub events: Vec<Event>,
    /// The cursor of the next page; null at the end.
    #[serde(default)]
    pub next: Option<String>,
    /// Events numbered below this are no longer held: what the query covers may have been among them. Null where none is
    /// missing.
    #[serde(default)]
    pub truncated_before: Option<u64>,
}

/// One drop or reset.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Event {
    /// Its number among all events: rising, without gaps unless a gap is told.
    pub seq: u64,
    /// When the kernel decided, RFC 3339.
    pub time: String,
    /// The same in nanoseconds since the epoch, as text: it is beyond what a JSON number holds everywhere.
    #[serde(default)]
    pub time_ns: String,
    /// `drop` or `reset`.
    pub kind: String,
    /// The id of the account charged, see `/api/v1/listeners`; null where it is not known to this run of the daemon.
    pub listener: Option<String>,
    /// The namespace's name: `host`, or its inode number.
    pub netns: String,
    /// The namespace's inode number.
    #[serde(default)]
    pub netns_inode: u32,
    /// Which of the namespaces that had the number: 0 was there when netqueue attached.
    #[serde(default)]
    pub netns_generation: u32,
    /// The local address.
    #[schema(value_type = Option<String>)]
    pub addr: Option<IpAddr>,
    /// The local port.
    pub port: Option<u16>,
    /// The process that holds the listener; empty while unknown.
    #[serde(default)]
    pub process: String,
    /// Who sent the packet, or is reset.
    pub peer: Option<Peer>,
    /// Where in the handshake: `syn`, `ack` or `cookie_ack`; null for resets.
    pub stage: Option<String>,
    /// Why.
    pub cause: String,
    /// The kernel's own reason for a reset, on kernels that have one.
    #[serde(default)]
    pub kernel_reason: Option<String>,
    /// The accept queue at that moment.
    pub accept_queue: Option<Queue>,
    /// The SYN queue at that moment.
    pub syn_queue: Option<Queue>,
    /// The CPU.
    #[serde(default)]
    pub cpu: u32,
    /// For a reset of an expired handshake: seconds since its final ACK was dropped.
    #[serde(default)]
    pub age_seconds: Option<f64>,
}

/// The other end of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Peer {
    /// Its address.
    #[schema(value_type = String)]
    pub addr: IpAddr,
    /// Its port.
    pub port: u16,
}

/// In a stream: events that this client did not get.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Lost {
    /// How many; null where that is not known.
    pub events: Option<u64>,
    /// `evicted`: they were no longer held when they would have been sent. `restart`: they belong to another run of the
    /// daemon. Or a reason for which events never arrived, as in `/api/v1/status`.
    pub reason: String,
}

/// In a stream: why it ends.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Ended {
    /// `stopping`: the daemon stops. `slow`: the client did not read fast enough.
    pub reason: String,
    /// In words.
    pub detail: String,
}

/// `/api/v1/peers`.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Peers {
    /// Most events first.
    pub peers: Vec<PeerCount>,
    /// Different addresses among the events looked at.
    pub addresses: u64,
    /// Events looked at that have a peer and match.
    pub events: u64,
    /// Events numbered below this are no longer held; null where none is missing.
    #[serde(default)]
    pub truncated_before: Option<u64>,
}

/// One client address.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PeerCount {
    /// The address.
    #[schema(value_type = String)]
    pub addr: IpAddr,
    /// Its packets that were dropped.
    pub drops: u64,
    /// Resets sent to it.
    pub resets: u64,
    /// The cause it met most.
    pub cause: String,
    /// Its newest event, RFC 3339.
    pub last: String,
}
