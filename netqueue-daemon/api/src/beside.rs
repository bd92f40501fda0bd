//! Kernel counters that moved without being attributed, as part of the diagnosis.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Movement of one kernel counter of a network namespace that netqueue reads and does not attribute.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Beside {
    /// Name of the network namespace.
    pub netns: String,
    /// Inode number of the network namespace.
    #[serde(default)]
    pub netns_inode: u32,
    /// Generation, which distinguishes network namespaces that had the same inode number.
    #[serde(default)]
    pub netns_generation: u32,
    /// Name of the counter in the kernel's netstat or snmp file, such as `EstabResets`.
    pub counter: String,
    /// Group of the counter: `Tcp` or `TcpExt`.
    #[serde(default)]
    pub group: String,
    /// Increase of the counter in the period.
    pub increase: u64,
    /// Time of the last reading that showed an increase, RFC 3339. A namespace is read at least every 30 s.
    #[serde(default)]
    pub last: String,
    /// Meaning of the increase in words, less what netqueue's own counts explain.
    pub sentence: String,
}
