//! Connections that were reset a moment ago.
//!
//! After the first reset of a connection, its packets that are under way meet no connection any more: a
//! listener, or nothing. Each is answered with a reset again, of which the client learns nothing new.

use aya_ebpf::{macros::map, maps::LruHashMap};
use netqueue_common::{Flow, Namespace};

use crate::{
    packet::Packet,
    read::{Fault, monotonic_now},
    sock::Sock,
};

/// Time of the last reset of each connection, in nanoseconds of CLOCK_MONOTONIC.
/// The packets of an evicted connection count as those of one that nobody knows.
#[map(name = "nq_reset_flows")]
static RESET_FLOWS: LruHashMap<Flow, u64> = LruHashMap::with_max_entries(8192, 0);

/// Time for which a connection is remembered after each of its resets.
/// Covers the pauses of a client that misses the reset and retransmits; TIME_WAIT is as long.
const MEMORY: u64 = 60_000_000_000;

/// A flow to be written to.
pub(crate) const NONE: Flow = Flow {
    netns: Namespace { inode: 0, generation: 0 },
    peer_port: 0,
    local_port: 0,
    peer_addr: [0; 16],
    local_addr: [0; 16],
};

/// Notes that a packet is answered with a reset; returns whether its connection was reset before.
/// Writes the connection to `flow`. `sk` may be 0.
#[inline(always)]
pub(crate) fn packet(flow: &mut Flow, sk: u64, skb: u64) -> Result<bool, Fault> {
    let net = if sk == 0 { Packet(skb).net()? } else { Sock(sk).net()? };
    Packet(skb).note_flow(net.id()?, flow)?;
    remember(flow)
}

/// Notes that this connection is reset.
/// Not inlined: functions that are called one after the other share the program's stack of 512 bytes.
#[inline(never)]
pub(crate) fn connection(sk: u64) -> Result<(), Fault> {
    let mut flow = NONE;
    Sock(sk).note_connection(Sock(sk).net()?.id()?, &mut flow)?;
    remember(&flow).map(|_again| ())
}

/// Remembers a reset; returns whether the connection was reset a moment before.
#[inline(always)]
fn remember(flow: &Flow) -> Result<bool, Fault> {
    let now = monotonic_now();
    if let Some(last) = RESET_FLOWS.get_ptr_mut(flow) {
        // SAFETY: a live map value, aligned to eight. Should the map give it to another connection meanwhile,
        // it stays a time.
        let before = unsafe { last.replace(now) };
        return Ok(now.wrapping_sub(before) < MEMORY);
    }
    RESET_FLOWS.insert(flow, now, 0).map(|()| false).map_err(|_| Fault)
}
