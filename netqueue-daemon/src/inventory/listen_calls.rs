//! Calls of listen() that the kernel side saw, kept until their listener is found.

use std::{collections::HashMap, time::Duration};

use netqueue_domain::{ListenCall, SocketInode, Timestamp};

/// Time after which a call without a listener has failed, or its listener is closed again.
const KEPT: Duration = Duration::from_secs(30);
/// Largest number of calls kept; beyond, the arguments of their listeners are missing.
const MOST: usize = 1 << 16;

/// Latest call on each socket.
#[derive(Debug, Default)]
pub(super) struct Calls {
    last: HashMap<SocketInode, ListenCall>,
    lost: u64,
}

impl Calls {
    /// Adds calls, the oldest first.
    pub(super) fn hear(&mut self, calls: Vec<ListenCall>) {
        for call in calls {
            if self.last.len() < MOST || self.last.contains_key(&call.inode) {
                self.last.insert(call.inode, call);
            } else {
                self.lost += 1;
            }
        }
    }

    /// Returns the number of calls for which there was no room.
    pub(super) const fn lost(&self) -> u64 {
        self.lost
    }

    /// Returns the call that gave a listener this backlog.
    /// `None` if none was seen, or if the one seen has failed.
    pub(super) fn of(&self, socket: SocketInode, backlog: u32) -> Option<&ListenCall> {
        self.last.get(&socket).filter(|call| call.backlog == backlog)
    }

    /// Drops calls made long before `now`: their listeners have been reported.
    pub(super) fn forget(&mut self, now: Timestamp) {
        self.last.retain(|_, call| now.since(call.at) < KEPT);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(inode: u64, argument: i32, backlog: u32, at: u64) -> ListenCall {
        let at = Timestamp::from_nanos(at * 1_000_000_000);
        ListenCall { at, inode: SocketInode(inode), argument, backlog }
    }

    #[test]
    fn the_last_call_counts_unless_it_failed_and_none_is_kept_for_ever() {
        let mut calls = Calls::default();
        calls.hear(vec![call(1, 511, 128, 1), call(1, 1024, 128, 2), call(2, 5, 5, 2)]);
        assert_eq!(calls.of(SocketInode(1), 128).map(|call| call.argument), Some(1024));
        assert_eq!(calls.of(SocketInode(2), 128), None, "that backlog is another call's");
        calls.forget(Timestamp::from_nanos(31_500_000_000));
        assert_eq!(calls.of(SocketInode(1), 128).map(|call| call.argument), Some(1024));
        calls.forget(Timestamp::from_nanos(33_000_000_000));
        assert_eq!(calls.of(SocketInode(2), 5), None);
    }

    #[test]
    fn a_storm_of_calls_takes_no_more_than_its_room() {
        let mut calls = Calls::default();
        calls.hear((0..2 * MOST as u64).map(|inode| call(inode, 1, 1, 1)).collect());
        assert_eq!((calls.last.len(), calls.lost()), (MOST, MOST as u64));
    }
}
