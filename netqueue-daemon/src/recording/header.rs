//! First line of a recording: its format, who made it, and where.

use serde::{Deserialize, Serialize};

use netqueue_domain::{Netns, Timestamp};

/// Version of the format that this netqueue writes, and the newest that it reads.
pub(super) const FORMAT: u32 = 1;

/// First line of a recording.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Header {
    /// Version of the format.
    pub(super) netqueue_recording: u32,
    /// Version of the netqueue that observed.
    pub version: String,
    /// Release of the kernel, as `uname -r` prints it.
    pub kernel: String,
    /// Network namespace that was compared first: the host's, unless `sees_host` is false.
    pub host: Netns,
    /// True if that namespace is the host's and not a container's; taken as true if missing.
    #[serde(default = "yes")]
    pub sees_host: bool,
    /// Time since when that netqueue had been counting.
    pub attached: Timestamp,
}

const fn yes() -> bool {
    true
}

impl Header {
    /// Header of a recording made by this netqueue on a machine with this kernel.
    #[must_use]
    pub fn new(kernel: String, host: Netns, sees_host: bool, attached: Timestamp) -> Self {
        let version = env!("CARGO_PKG_VERSION").to_owned();
        Self { netqueue_recording: FORMAT, version, kernel, host, sees_host, attached }
    }
}
