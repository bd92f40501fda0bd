//! Ports on which something listens or has listened.
//!
//! Many servers have a port in ip_local_port_range, from which clients' ports are taken too. Resets on ports
//! of that range share one account for each address, unless the port is known to be a server's.

use aya_ebpf::{macros::map, maps::LruHashMap};
use netqueue_common::ListenerKey;

/// Ports that are or were listened on, by namespace ([`packed`]).
/// Entered at listen() and at the end of a listener, so not for one that listened before. The resets of an evicted
/// port count as those of a client's port.
#[map(name = "nq_listened")]
static LISTENED: LruHashMap<u64, u32> = LruHashMap::with_max_entries(8192, 0);

/// Remembers that a listener is or was on this port.
#[inline(always)]
pub(crate) fn note(key: &ListenerKey) {
    insert(packed(key));
}

/// Not inlined: functions that are called one after the other share the program's stack of 512 bytes.
#[inline(never)]
fn insert(port: u64) {
    let _no_room = LISTENED.insert(port, 1, 0);
}

/// Returns whether a listener is or was on this port of the namespace.
#[inline(always)]
pub(crate) fn contains(key: &ListenerKey) -> bool {
    LISTENED.get_ptr(packed(key)).is_some()
}

/// Returns namespace and port in one word.
/// The lower half of the generation is enough: with another one, a port of an earlier namespace is remembered.
#[inline(always)]
fn packed(key: &ListenerKey) -> u64 {
    u64::from(key.netns.inode) << 32 | u64::from(key.netns.generation & 0xffff) << 16 | u64::from(key.port)
}
