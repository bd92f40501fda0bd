//! What the inventory knows of a listening socket: a value or null, and for each null the reason.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// A listening socket.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct Socket {
    /// The inode number of the socket, as in /proc/PID/fd.
    pub inode: u64,
    /// The kernel's name for it, as text: it may be beyond what a JSON number holds everywhere.
    pub cookie: Option<String>,
    /// `ipv4`, `ipv6`, `dual_stack`, or `ipv6_or_dual_stack` where that is not told.
    pub family: String,
    /// The interface it is bound to, by number.
    pub interface: Option<u32>,
    /// The user it was opened by.
    pub uid: u32,
    /// Its group, where several share its address and port by SO_REUSEPORT.
    pub reuseport: Option<Reuseport>,
    /// What bounds its queues.
    pub limit: Limit,
    /// The processes that hold it, the one it is named after first.
    pub owners: Option<Vec<Owner>>,
    /// When it began to listen, RFC 3339.
    pub opened: Option<String>,
    /// When it was first found, RFC 3339.
    pub found: String,
    /// When it was found to be no more, RFC 3339.
    pub closed: Option<String>,
    /// What is not known, and why.
    pub unknown: Vec<Unknown>,
}

/// Its place in a SO_REUSEPORT group.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Reuseport {
    /// How many there are.
    pub members: u32,
    /// Its number, from 1.
    pub member: u32,
}

/// What bounds the queues.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct Limit {
    /// The backlog in force; the accept queue holds one more.
    pub backlog: Option<u32>,
    /// What has to change for the queue to become longer: `listen_argument`, `somaxconn`, `earlier_somaxconn` (raised since,
    /// the program has to listen again), `listen_call` (which was not seen) or `unknown`.
    pub limited_by: String,
    /// What the program asked for.
    pub listen_argument: Option<i32>,
    /// What somaxconn was when it was last seen listening.
    pub somaxconn_then: Option<u32>,
    /// Requests in the SYN queue from which on, with cookies off, SYNs of unknown peers are refused.
    pub syn_last_quarter: Option<u32>,
    /// The namespace's sysctls now; null where unknown.
    pub sysctls: BTreeMap<String, Option<u32>>,
}

/// A process that holds a listening socket.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct Owner {
    /// Its number in the daemon's PID namespace.
    pub pid: u32,
    /// Its short name.
    pub comm: String,
    /// Its executable.
    pub executable: Option<String>,
    /// Its cgroup.
    pub cgroup: Option<String>,
    /// The systemd unit.
    pub unit: Option<String>,
    /// The container's id.
    pub container: Option<String>,
    /// What runs the container.
    pub runtime: Option<String>,
    /// The uid of the Kubernetes pod.
    pub pod: Option<String>,
    /// Whether it has ended since.
    pub ended: bool,
}

/// Something that is not known.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Unknown {
    /// What.
    pub what: String,
    /// Why, in one word.
    #[serde(default)]
    pub why: String,
    /// Why, in words.
    pub detail: String,
}
