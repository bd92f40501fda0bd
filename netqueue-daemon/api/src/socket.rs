//! Listening sockets: each value is known or null, and `unknown` has the reason for each null.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Listening socket.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct Socket {
    /// Inode number of the socket, as in /proc/PID/fd.
    pub inode: u64,
    /// Socket cookie of the kernel. A string, because the value may exceed the exact range of JSON numbers.
    pub cookie: Option<String>,
    /// Connections it accepts: `ipv4`, `ipv6`, `dual_stack`, or `ipv6_or_dual_stack` if the kernel does not
    /// report which.
    pub family: String,
    /// Index of the network interface to which it is bound; null if it is bound to none.
    pub interface: Option<u32>,
    /// User id of the socket's owner.
    pub uid: u32,
    /// Position in its SO_REUSEPORT group; null if no other listener shares address and port.
    pub reuseport: Option<Reuseport>,
    /// Limits of its queues.
    pub limit: Limit,
    /// Processes that own the socket, the one that gives the account its `process` first; null if unknown.
    pub owners: Option<Vec<Owner>>,
    /// Time when it began to listen, RFC 3339; null if unknown.
    pub opened: Option<String>,
    /// Time when netqueue found it, RFC 3339.
    pub found: String,
    /// Time when netqueue found that it was closed, RFC 3339; null while it listens.
    pub closed: Option<String>,
    /// Reasons for the values that are null because they are unknown.
    pub unknown: Vec<Unknown>,
}

/// Position in a SO_REUSEPORT group.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Reuseport {
    /// Number of listeners in the group.
    pub members: u32,
    /// Position of this listener, from 1.
    pub member: u32,
}

/// Limits of a listener's queues, and the settings that they result from.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct Limit {
    /// Backlog in force, which limits both queues; the accept queue takes one connection more.
    /// Null if unknown.
    pub backlog: Option<u32>,
    /// Setting that has to change for a longer queue: `listen_argument`, `somaxconn`, `earlier_somaxconn`,
    /// `listen_call` or `unknown`. `earlier_somaxconn`: it was raised since, and the program has to call
    /// listen() again. `listen_call`: the call was not seen, and the program has to call listen() again.
    pub limited_by: String,
    /// Argument of the listen() call; null if unknown.
    pub listen_argument: Option<i32>,
    /// Value of net.core.somaxconn at the last listen() call that was seen; null if unknown.
    pub somaxconn_then: Option<u32>,
    /// SYN queue length above which the last-quarter rule applies; null if unknown or SYN cookies are on.
    /// The kernel then drops the SYNs of peers that no earlier connection has proven.
    pub syn_last_quarter: Option<u32>,
    /// Sysctls of the network namespace as they are now, by name; null if unknown.
    pub sysctls: BTreeMap<String, Option<u32>>,
}

/// Process that owns a listening socket.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct Owner {
    /// Process id in the daemon's PID namespace.
    pub pid: u32,
    /// Name of the process, as in /proc/PID/comm.
    pub comm: String,
    /// Path of the executable; null if unknown.
    pub executable: Option<String>,
    /// Path of the cgroup; null if unknown.
    pub cgroup: Option<String>,
    /// Systemd unit; null if none or unknown.
    pub unit: Option<String>,
    /// Id of the container; null if none or unknown.
    pub container: Option<String>,
    /// Runtime of the container; null if none or unknown.
    pub runtime: Option<String>,
    /// Uid of the Kubernetes pod; null if none or unknown.
    pub pod: Option<String>,
    /// True if the process has ended since.
    pub ended: bool,
}

/// Reason for a value that is null because it is unknown.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Unknown {
    /// Name of the member or sysctl.
    pub what: String,
    /// Reason in one word, such as `before_attach` or `missing_capability`.
    #[serde(default)]
    pub why: String,
    /// Reason in words.
    pub detail: String,
}

impl Socket {
    /// Returns the PIDs of all owners, including ended ones, in the daemon's order.
    #[must_use]
    pub fn pids(&self) -> Vec<u32> {
        self.owners.iter().flatten().map(|owner| owner.pid).collect()
    }

    /// Returns the PIDs and names of the processes that still have the socket open.
    #[must_use]
    pub fn living_owners(&self) -> BTreeSet<(u32, String)> {
        let living = self.owners.iter().flatten().filter(|owner| !owner.ended);
        living.map(|owner| (owner.pid, owner.comm.clone())).collect()
    }
}
