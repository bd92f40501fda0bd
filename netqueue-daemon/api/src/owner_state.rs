//! State of a listener's owners, examined while connections wait for accept().

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// State of a listener's owners when connections last waited for accept().
/// They are examined every 2 s at most, those of the fullest queues first.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct OwnerState {
    /// Time of the examination, RFC 3339.
    pub at: String,
    /// Conditions that keep them from accepting, the most certain first: `frozen`, `stopped`, `traced`,
    /// `out_of_files`, `oom_killed`, `throttled`, `blocked` or `cpu_pressure`.
    pub hindrances: Vec<String>,
    /// Number of processes that share the listener.
    pub sharing: u32,
    /// Processes that were examined, 8 at most.
    pub processes: Vec<ProcessState>,
    /// CPU quota of the cgroup in CPUs; null if there is none or it is unknown.
    pub cpu_quota: Option<f64>,
    /// Enforcement periods between the last two examinations in which the quota was used up.
    pub throttled_periods: Option<u64>,
    /// Enforcement periods between the last two examinations.
    pub cpu_periods: Option<u64>,
    /// True if the cgroup is frozen; null if unknown.
    pub frozen: Option<bool>,
    /// OOM kills in the cgroup that were noticed.
    pub oom_kills: Option<u64>,
    /// Time when the last OOM kill was noticed, RFC 3339.
    pub oom_killed: Option<String>,
    /// Share of 10 s in which runnable tasks of the cgroup waited for a CPU, in percent.
    pub cpu_pressure: Option<u32>,
}

/// State of one process; members that could not be read are null.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct ProcessState {
    /// Process id in the daemon's PID namespace.
    pub pid: u32,
    /// Name of the process.
    pub name: String,
    /// Activity of the main thread.
    /// `running`, `sleeping`, `blocked` (uninterruptible), `stopped`, `traced`, `ended` or `other`.
    pub activity: Option<String>,
    /// Start of the series of examinations that found this activity, RFC 3339.
    pub since: String,
    /// Number of the signal that stopped it, on kernels that report it.
    pub stop_signal: Option<u32>,
    /// Process that traces it.
    pub tracer: Option<u32>,
    /// Number of threads.
    pub threads: Option<u32>,
    /// Number of open descriptors.
    pub open_files: Option<u64>,
    /// Soft limit of open descriptors.
    pub file_limit: Option<u64>,
}
