//! Responses about spikes: sudden rises of drops.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Response of `/api/v1/spikes`.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Spikes {
    /// Number of active spikes, regardless of the query.
    pub active: usize,
    /// Spikes that match, newest first.
    pub spikes: Vec<Spike>,
}

/// Sudden rise of drops above what is usual, active or over.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Spike {
    /// Number of the spike, valid while the daemon runs.
    pub id: String,
    /// Scope: `listener` for one account and cause, `namespace` for all drops of a network namespace.
    pub scope: String,
    /// Id of the account, see `/api/v1/listeners`; null for a network namespace, and if the account no
    /// longer exists.
    pub listener: Option<String>,
    /// Name of the network namespace: `host`, the name of a file bound to it, the short id of its
    /// container, or its inode number.
    pub netns: String,
    /// Inode number of the network namespace.
    pub netns_inode: u32,
    /// Generation, which distinguishes network namespaces that had the same inode number.
    /// 0 existed when netqueue attached.
    pub netns_generation: u32,
    /// Local address; null if the spike is not confined to one.
    #[schema(value_type = Option<String>)]
    pub addr: Option<IpAddr>,
    /// Local port; null if the spike is not confined to one.
    pub port: Option<u16>,
    /// Cause of the drops; `any` for a network namespace.
    pub cause: String,
    /// True while the spike goes on.
    pub active: bool,
    /// Time of its first drop, RFC 3339.
    pub started: String,
    /// Time when it was detected, RFC 3339.
    pub detected: String,
    /// Time when the counts last changed, RFC 3339.
    pub last_drop: String,
    /// Time when it was found to be over, RFC 3339; null while it goes on.
    pub ended: Option<String>,
    /// Drops since it started: packets, as the kernel counts them.
    pub drops: u64,
    /// Largest number of drops in one second.
    pub peak_per_second: u64,
    /// Usual number of drops per second of this account and cause, or of this network namespace.
    pub baseline_per_second: f64,
    /// Clients whose packets were dropped.
    pub clients: SpikeClients,
}

/// Clients whose packets were dropped during a spike.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SpikeClients {
    /// Number of distinct addresses.
    pub addresses: u64,
    /// Number of distinct addresses and ports, that is of attempts to connect.
    pub connections: u64,
    /// True if there may be more: not every drop has an event, or there were too many to distinguish.
    pub at_least: bool,
}
