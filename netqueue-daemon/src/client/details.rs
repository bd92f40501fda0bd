//! What an answer says of a listener's socket and of what went through it.

use serde::Deserialize;

/// What the inventory knows of a listener's socket.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct Details {
    /// Inode number of the socket.
    #[serde(default)]
    pub inode: u64,
    /// `ipv4`, `ipv6` or `dual_stack`.
    #[serde(default)]
    pub family: String,
    /// What bounds its queues.
    pub limit: Limit,
    /// Who holds it, the one it is named after first; `None` while unknown.
    #[serde(default)]
    pub owners: Option<Vec<Owner>>,
    /// When it was closed.
    #[serde(default)]
    pub closed: Option<String>,
    /// What is not known, and why.
    #[serde(default)]
    pub unknown: Vec<Unknown>,
}

/// What bounds a listener's queues.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Limit {
    /// The backlog in force.
    pub backlog: Option<u32>,
    /// Which term decided it.
    pub limited_by: String,
    /// What the program asked for.
    pub listen_argument: Option<i32>,
}

/// A process that holds a listener.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Owner {
    /// Its number.
    pub pid: u32,
    /// Its short name.
    pub comm: String,
    /// What it runs.
    pub executable: Option<String>,
    /// Its cgroup.
    pub cgroup: Option<String>,
    /// Its systemd unit.
    pub unit: Option<String>,
    /// Its container.
    pub container: Option<String>,
    /// What runs that.
    pub runtime: Option<String>,
    /// Its pod.
    pub pod: Option<String>,
    /// Whether it has ended.
    pub ended: bool,
}

/// Something that is not known.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Unknown {
    /// What.
    pub what: String,
    /// Why, in words.
    pub detail: String,
}

impl Details {
    /// The process it is named after.
    #[must_use]
    pub fn owner(&self) -> Option<&Owner> {
        self.owners.as_ref().and_then(|owners| owners.first())
    }

    /// Why something is not known.
    #[must_use]
    pub fn why(&self, what: &str) -> Option<&str> {
        self.unknown.iter().find(|unknown| unknown.what == what).map(|unknown| unknown.detail.as_str())
    }
}

/// What went through a listener.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct Traffic {
    /// Seconds that connections waited for accept().
    pub accept_wait_seconds: Option<Distribution>,
}

/// A distribution's percentiles.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct Distribution {
    /// Half are below.
    pub p50: Option<f64>,
    /// Of a hundred, ninety-nine are below.
    pub p99: Option<f64>,
}
