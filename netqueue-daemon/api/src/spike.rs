//! Sudden rises of drops.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// `/api/v1/spikes`.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Spikes {
    /// Those that go on, whatever was asked for.
    pub active: usize,
    /// Newest first.
    pub spikes: Vec<Spike>,
}

/// A sudden rise of drops, under way or over.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Spike {
    /// Its number while the daemon runs.
    pub id: String,
    /// `listener`, or `namespace` for all drops of one.
    pub scope: String,
    /// The id of the account, see `/api/v1/listeners`; null for a namespace.
    pub listener: Option<String>,
    /// The namespace's name: `host`, or its inode number.
    pub netns: String,
    /// The namespace's inode number.
    pub netns_inode: u32,
    /// Which of the namespaces that had the number: 0 was there when netqueue attached.
    pub netns_generation: u32,
    /// The local address; null for what is at no one place.
    #[schema(value_type = Option<String>)]
    pub addr: Option<IpAddr>,
    /// The local port.
    pub port: Option<u16>,
    /// Why they were dropped; `any` for a namespace.
    pub cause: String,
    /// Whether it goes on.
    pub active: bool,
    /// When the first of its drops happened, RFC 3339.
    pub started: String,
    /// When it was told from what is ordinary.
    pub detected: String,
    /// When the counts last moved.
    pub last_drop: String,
    /// When it was seen to be over; null while it goes on.
    pub ended: Option<String>,
    /// Drops since it started, packets as the kernel counts them.
    pub drops: u64,
    /// Most drops within one second.
    pub peak_per_second: u64,
    /// Drops per second that are ordinary here.
    pub baseline_per_second: f64,
    /// Whom it met.
    pub clients: SpikeClients,
}

/// Whom a spike met.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SpikeClients {
    /// Different addresses.
    pub addresses: u64,
    /// Different addresses and ports: attempts to connect.
    pub connections: u64,
    /// There may be more: not every drop has an event of its own, or there were too many to tell apart.
    pub at_least: bool,
}
