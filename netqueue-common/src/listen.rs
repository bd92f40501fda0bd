//! A listen() call, as the kernel side saw it.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// One listen() call on a TCP socket: one record of a ring buffer of its own.
/// The record is written before the kernel decides, and so does not contain whether the call succeeded.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct ListenRecord {
    /// Time of the call, in nanoseconds of CLOCK_MONOTONIC.
    pub time: u64,
    /// The inode number of the socket.
    pub inode: u64,
    /// Backlog that the program passed to listen().
    pub argument: i32,
    /// Backlog after the limit of somaxconn.
    pub backlog: i32,
}
