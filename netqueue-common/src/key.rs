//! Who is charged: one listener, one local endpoint, or a whole namespace's remainder.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::Namespace;

/// One account that counts are charged to.
///
/// Four kinds share this type:
/// * a **listener**: `sock` is its socket's kernel address, so that SO_REUSEPORT members and a listener closed and
///   opened again stay apart; the rest is its bound address.
/// * an **endpoint**: `sock` is 0; a local address and port that sent resets no listener is concerned with.
/// * an address's **ephemeral** ports: an endpoint with `port` 0, for all ports of the namespace's ip_local_port_range.
/// * a namespace's **other** bucket: everything but `netns` is 0.
///
/// The socket's address stays in the kernel: outside, a listener is known by its slot.
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
    /// The key of a namespace's `other` bucket.
    #[must_use]
    pub const fn other(netns: Namespace) -> Self {
        Self { sock: 0, netns, port: 0, family: 0, addr: [0; 16], reserved: 0 }
    }
}

/// Who owns a slot, and since when no more.
///
/// A slot goes through [`Self::FREE`], [`Self::USED`], [`Self::RETIRED`] and back, and each time round has a generation of
/// its own. Whoever keeps a slot from one run of a program to the next must keep the generation with it, and must charge
/// it only where `generation` is still that and `state` is [`Self::USED`]; what a run has found stays good until its end.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct Account {
    /// Whose counts the slot holds.
    pub key: ListenerKey,
    /// Inode number of the listener's socket, as sock_diag gives it; 0 where it has none or it could not be read.
    pub inode: u64,
    /// When the listener was closed, in nanoseconds of CLOCK_MONOTONIC; 0 while it is not known to be.
    pub closed: u64,
    /// How often the slot had another owner before.
    pub generation: u32,
    /// One of the constants below.
    pub state: u32,
}

impl Account {
    /// Nobody's.
    pub const FREE: u32 = 0;
    /// `key` is the owner's.
    pub const USED: u32 = 1;
    /// No program run that begins from now on finds it; those under way may still charge it.
    pub const RETIRED: u32 = 2;
}

/// What became of a request to the kernel side's keeper programs: their return value.
pub mod kept {
    /// Done; or, of a listener that was looked at, it still listens.
    pub const DONE: u32 = 0;
    /// The slot is not, or no longer, what the caller took it for.
    pub const STALE: u32 = 1;
    /// The listener that was looked at listens no more.
    pub const CLOSED: u32 = 2;
    /// The stack of free slots was busy; to be tried again.
    pub const BUSY: u32 = 3;
}

#[cfg(feature = "user")]
// SAFETY: repr(C), integers only, no padding (IntoBytes proves it), any bytes are a value (FromBytes proves it).
unsafe impl aya::Pod for ListenerKey {}

#[cfg(feature = "user")]
// SAFETY: repr(C), integers only, no padding (IntoBytes proves it), any bytes are a value (FromBytes proves it).
unsafe impl aya::Pod for Account {}
