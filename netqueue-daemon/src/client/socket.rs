//! What the daemon knows of a listening socket beyond what it was charged, as a client reads it.

use std::collections::BTreeMap;

use serde::Deserialize;

/// A listening socket.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Socket {
    /// `ipv4`, `ipv6`, `dual_stack`, ..
    pub family: String,
    /// Its place in a SO_REUSEPORT group.
    pub reuseport: Option<Reuseport>,
    /// What bounds its queues.
    pub limit: Limit,
    /// Who holds it, the one it is named after first.
    pub owners: Option<Vec<Owner>>,
    /// When it began to listen, RFC 3339.
    pub opened: Option<String>,
    /// When it was first found, RFC 3339.
    pub found: Option<String>,
    /// When it was found to be no more, RFC 3339.
    pub closed: Option<String>,
    /// What is not known, and why.
    pub unknown: Vec<Unknown>,
}

/// A place in a SO_REUSEPORT group.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub struct Reuseport {
    /// How many there are.
    pub members: u32,
    /// Its number, from 1.
    pub member: u32,
}

/// What bounds the queues.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Limit {
    /// In force; the accept queue holds one more.
    pub backlog: Option<u32>,
    /// What has to change for the queue to become longer.
    pub limited_by: String,
    /// What the program asked for.
    pub listen_argument: Option<i32>,
    /// What somaxconn was when it began to listen.
    pub somaxconn_then: Option<u32>,
    /// The namespace's sysctls now; null where unknown.
    pub sysctls: BTreeMap<String, Option<u32>>,
}

/// A process that holds the socket.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Owner {
    /// Its number in the daemon's PID namespace.
    pub pid: u32,
    /// Its short name.
    pub comm: String,
    /// Its executable.
    pub executable: Option<String>,
    /// The systemd unit.
    pub unit: Option<String>,
    /// The container's id.
    pub container: Option<String>,
    /// The uid of the Kubernetes pod.
    pub pod: Option<String>,
    /// Whether it has ended since.
    pub ended: bool,
}

/// Something that is not known.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Unknown {
    /// What.
    pub what: String,
    /// Why, in words.
    pub detail: String,
}

/// What went through a listener since netqueue attached, or it was opened.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct Traffic {
    /// Entered the accept queue.
    pub established: u64,
    /// Taken out by accept(); null where that is not observed.
    pub accepted: Option<u64>,
    /// The longest the accept queue was; null where that is not observed.
    pub accept_queue_peak: Option<QueuePeak>,
    /// How long accepted connections had waited; null where that is not observed.
    pub accept_wait_seconds: Option<Wait>,
}

/// The longest a queue was.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct QueuePeak {
    /// Within the last minute.
    pub last_minute: u32,
}

/// Waits in the accept queue, in seconds; null where none was measured.
#[derive(Clone, Copy, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct Wait {
    /// Half were shorter.
    pub p50: Option<f64>,
    /// 99 in 100 were shorter.
    pub p99: Option<f64>,
}
