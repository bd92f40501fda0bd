//! A listen() call as it was seen.

use super::{SocketInode, Timestamp};

/// What a program asked for, and what it got, unless the call failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ListenCall {
    /// When.
    pub at: Timestamp,
    /// Its socket.
    pub inode: SocketInode,
    /// What the program asked for; below 0 is as much as there is.
    pub argument: i32,
    /// What somaxconn left of it.
    pub backlog: u32,
}
