//! A listen() call, as the kernel side saw it.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// One listen() call on a TCP socket: one record of its own ring buffer. Whether it succeeded is not told.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct ListenCall {
    /// CLOCK_MONOTONIC, in nanoseconds.
    pub time: u64,
    /// The inode number of the socket.
    pub inode: u64,
    /// What the program asked for.
    pub argument: i32,
    /// What somaxconn left of it.
    pub backlog: i32,
}
