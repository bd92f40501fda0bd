//! Observed listen() calls.

use super::{SocketInode, Timestamp};

/// Argument of a listen() call, and the backlog it resulted in unless the call failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ListenCall {
    /// Time of the call.
    pub at: Timestamp,
    /// Socket that the call was made on.
    pub inode: SocketInode,
    /// Backlog that the program requested; a negative one requests the maximum.
    pub argument: i32,
    /// Backlog that somaxconn left of it.
    pub backlog: u32,
}
