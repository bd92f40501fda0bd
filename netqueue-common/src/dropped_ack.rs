//! Handshakes whose final ACK was dropped, as the kernel side remembers them.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::Namespace;

/// A connection, as a packet to this host names it.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct Flow {
    /// The network namespace.
    pub netns: Namespace,
    /// The peer's port, host byte order.
    pub peer_port: u16,
    /// The local port, host byte order.
    pub local_port: u16,
    /// The peer's address, network byte order; IPv4 in the first four bytes.
    pub peer_addr: [u8; 16],
    /// The local address, network byte order; IPv4 in the first four bytes.
    pub local_addr: [u8; 16],
}

/// State of a handshake whose final ACK was dropped.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct DroppedAck {
    /// Time at which the final ACK was first dropped, in nanoseconds of CLOCK_MONOTONIC.
    pub since: u64,
    /// One of [`Self::ACK_DROPPED`], [`Self::GHOST`], [`Self::ENDED`] and [`Self::TIMED_OUT`].
    pub state: u64,
}

impl DroppedAck {
    /// The listener kept the request.
    pub const ACK_DROPPED: u64 = 1;
    /// The listener keeps no state, because the ACK returned a SYN cookie.
    pub const GHOST: u64 = 2;
    /// A packet of the handshake was answered with a reset.
    pub const ENDED: u64 = 3;
    /// The listener kept the request and gave it up, because its SYN-ACKs were used up.
    pub const TIMED_OUT: u64 = 4;
}
