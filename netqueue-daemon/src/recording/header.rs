//! The first line of a recording: what it is, who made it, and where.

use serde::{Deserialize, Serialize};

use netqueue_domain::{Netns, Timestamp};

/// The version of the format this netqueue writes, and the newest it reads.
pub(super) const FORMAT: u32 = 1;

/// The first line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Header {
    /// The version of the format.
    pub(super) netqueue_recording: u32,
    /// The netqueue that observed.
    pub version: String,
    /// The kernel's release, as `uname -r` says it.
    pub kernel: String,
    /// The network namespace of PID 1 there.
    pub host: Netns,
    /// Whether that is the host's and not a container's.
    #[serde(default = "yes")]
    pub sees_host: bool,
    /// Since when that netqueue had been counting.
    pub attached: Timestamp,
}

const fn yes() -> bool {
    true
}

impl Header {
    /// The header of a recording made by this netqueue on a machine with this kernel.
    #[must_use]
    pub fn new(kernel: String, host: Netns, sees_host: bool, attached: Timestamp) -> Self {
        let version = env!("CARGO_PKG_VERSION").to_owned();
        Self { netqueue_recording: FORMAT, version, kernel, host, sees_host, attached }
    }
}
