//! The kernel counters netqueue accounts for.

use serde::{Deserialize, Serialize};

use super::by_name::ByName;

/// A counter of /proc/net/netstat or /proc/net/snmp whose every increment is attributed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[repr(usize)]
pub enum KernelCounter {
    /// Accept queue full, at any stage.
    ListenOverflows,
    /// Any drop by a listener; contains ListenOverflows.
    ListenDrops,
    /// SYN queue full and cookies off.
    ReqQFullDrop,
    /// SYN queue full and cookies on.
    ReqQFullDoCookies,
    /// SYN-ACKs sent with a cookie.
    SyncookiesSent,
    /// ACKs that brought a valid cookie.
    SyncookiesRecv,
    /// ACKs with no cookie, or an invalid one, while cookies were being sent.
    SyncookiesFailed,
    /// Handshakes ended by a reset, sent or received.
    EmbryonicRsts,
    /// Resets sent.
    OutRsts,
}

impl KernelCounter {
    /// Every counter, in index order.
    pub const ALL: [Self; 9] = [
        Self::ListenOverflows,
        Self::ListenDrops,
        Self::ReqQFullDrop,
        Self::ReqQFullDoCookies,
        Self::SyncookiesSent,
        Self::SyncookiesRecv,
        Self::SyncookiesFailed,
        Self::EmbryonicRsts,
        Self::OutRsts,
    ];

    /// Returns the name in the kernel's file.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ListenOverflows => "ListenOverflows",
            Self::ListenDrops => "ListenDrops",
            Self::ReqQFullDrop => "TCPReqQFullDrop",
            Self::ReqQFullDoCookies => "TCPReqQFullDoCookies",
            Self::SyncookiesSent => "SyncookiesSent",
            Self::SyncookiesRecv => "SyncookiesRecv",
            Self::SyncookiesFailed => "SyncookiesFailed",
            Self::EmbryonicRsts => "EmbryonicRsts",
            Self::OutRsts => "OutRsts",
        }
    }
}

/// One value for each [`KernelCounter`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(bound(
    serialize = "T: Copy + Default + PartialEq + Serialize",
    deserialize = "T: Copy + Default + Deserialize<'de>"
))]
pub struct PerCounter<T>(#[serde(with = "ByName::<KernelCounter>")] [T; KernelCounter::ALL.len()]);

impl<T: Copy> PerCounter<T> {
    /// Builds the values by calling `value` for each counter.
    pub fn from_fn(mut value: impl FnMut(KernelCounter) -> T) -> Self {
        Self(KernelCounter::ALL.map(&mut value))
    }

    /// Returns the value of one counter.
    #[must_use]
    pub const fn get(&self, counter: KernelCounter) -> T {
        self.0[counter as usize]
    }

    /// Sets the value of one counter.
    pub const fn set(&mut self, counter: KernelCounter, value: T) {
        self.0[counter as usize] = value;
    }

    /// Iterates over counters and values, in index order.
    pub fn iter(&self) -> impl Iterator<Item = (KernelCounter, T)> + '_ {
        KernelCounter::ALL.into_iter().map(|counter| (counter, self.get(counter)))
    }
}
