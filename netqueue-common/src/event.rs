//! One drop or reset, as it happened.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::ListenerKey;

/// Value of [`EventRecord::reason`] for a drop, and for a reset before 6.10, which has no reasons.
pub const NO_REASON: u32 = u32::MAX;

/// Value of [`EventRecord::slot`] if no slot was left to charge.
pub const NO_SLOT: u32 = u32::MAX;

/// A queue length or limit that was not read.
pub const UNKNOWN_LENGTH: u32 = u32::MAX;

/// One record of the ring buffer: a drop or a reset.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct EventRecord {
    /// Time of the drop or reset, in nanoseconds of CLOCK_MONOTONIC.
    pub time: u64,
    /// Nanoseconds since the final ACK of an expired handshake was dropped, for its reset; else 0.
    pub age: u64,
    /// The account that was charged.
    pub key: ListenerKey,
    /// The peer's address, network byte order, as in [`ListenerKey::addr`].
    pub peer_addr: [u8; 16],
    /// The peer's port, host byte order.
    pub peer_port: u16,
    /// AF_INET or AF_INET6 of the packet; 0 where it could not be read.
    pub peer_family: u16,
    /// The local port, host byte order, even if the account covers many ports.
    pub local_port: u32,
    /// The [`CounterId`](crate::CounterId) that the event raised.
    pub code: u32,
    /// The CPU on which the drop or reset happened.
    pub cpu: u32,
    /// The kernel's `enum sk_rst_reason`, or [`NO_REASON`].
    pub reason: u32,
    /// Connections waiting in the accept queue (`sk_ack_backlog`).
    pub accept_length: u32,
    /// The accept queue's limit (`sk_max_ack_backlog`); the queue can contain one connection more.
    pub accept_limit: u32,
    /// Requests in the SYN queue (`icsk_accept_queue.qlen`).
    pub syn_length: u32,
    /// The SYN queue length at which this SYN was refused, or the backlog.
    pub syn_limit: u32,
    /// The slot that was charged, or [`NO_SLOT`].
    pub slot: u32,
    /// Generation of the slot at that time.
    pub generation: u32,
    /// Zero; there is no padding.
    pub reserved: u32,
}
