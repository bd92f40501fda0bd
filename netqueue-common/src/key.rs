//! Keys of the accounts: one listener, one local endpoint, or the remainder of a namespace.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::Namespace;

/// One account that counts are charged to.
///
/// Four kinds share this type:
/// * a **listener**: `sock` is its socket's kernel address, so that SO_REUSEPORT members, or a listener
///   closed and opened again, are distinct; the rest is its bound address.
/// * an **endpoint**: `sock` is 0; a local address and port that sent resets which concern no listener.
/// * an address's **ephemeral** ports: an endpoint with `port` 0, for all ports of the namespace's
///   ip_local_port_range.
/// * a namespace's **other** bucket: every member but `netns` is 0.
///
/// The daemon's decoder drops the socket's address: outside the kernel side, a slot and its generation
/// identify a listener.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct ListenerKey {
    /// Kernel address of the listening socket, 0 where no listener is meant.
    pub sock: u64,
    /// The network namespace.
    pub netns: Namespace,
    /// Local port, host byte order.
    pub port: u16,
    /// AF_INET (2) or AF_INET6 (10) of the bound address; 0 in an `other` bucket.
    pub family: u16,
    /// Bound address, network byte order: IPv4 in the first four bytes, all sixteen for IPv6.
    pub addr: [u8; 16],
    /// Zero; rounds the size up to whole words.
    pub reserved: u32,
}

impl ListenerKey {
    /// Returns the key of a namespace's `other` bucket.
    #[must_use]
    pub const fn other(netns: Namespace) -> Self {
        Self { sock: 0, netns, port: 0, family: 0, addr: [0; 16], reserved: 0 }
    }
}

/// Owner of a slot, and the time at which its listener was closed.
///
/// A slot goes through [`Self::FREE`], [`Self::USED`], [`Self::RETIRED`] and back, and each cycle has a
/// generation of its own. Code that keeps a slot from one program run to the next must keep the generation
/// with it, and may charge the slot only if `generation` is unchanged and `state` is [`Self::USED`]. A slot
/// that a run has found stays valid until the end of that run.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct SlotMeta {
    /// Key of the account whose counts the slot contains.
    pub key: ListenerKey,
    /// Inode number of the listener's socket, as sock_diag reports it.
    /// 0 if the socket has none, or if it could not be read.
    pub inode: u64,
    /// Time at which the listener was closed, in nanoseconds of CLOCK_MONOTONIC; 0 if no end is known.
    pub closed: u64,
    /// Number of owners that the slot had before.
    pub generation: u32,
    /// One of [`Self::FREE`], [`Self::USED`] and [`Self::RETIRED`].
    pub state: u32,
}

impl SlotMeta {
    /// The slot has no owner.
    pub const FREE: u32 = 0;
    /// `key` is the key of the owner.
    pub const USED: u32 = 1;
    /// Program runs that begin from now on do not find the slot.
    /// Runs that are under way may still charge it.
    pub const RETIRED: u32 = 2;
}

/// Return values of the programs that the daemon runs to change the kernel side's maps (control.rs).
pub mod control_status {
    /// Success; of a listener that was examined: it still listens.
    pub const DONE: u32 = 0;
    /// The slot is not in the generation or state that the caller expected.
    /// For baselines: a kernel structure could not be read.
    pub const STALE: u32 = 1;
    /// The listener that was examined no longer listens.
    pub const CLOSED: u32 = 2;
    /// Not finished; the caller tries again.
    /// The stack of free slots was busy, baselines of more namespaces remain to be noted, or a charge is
    /// still pending.
    pub const BUSY: u32 = 3;
}

#[cfg(feature = "user")]
// SAFETY: repr(C), integers only, no padding (proven by IntoBytes), any bytes are a value (by FromBytes).
unsafe impl aya::Pod for ListenerKey {}

#[cfg(feature = "user")]
// SAFETY: repr(C), integers only, no padding (proven by IntoBytes), any bytes are a value (by FromBytes).
unsafe impl aya::Pod for SlotMeta {}
