//! When something moved: charge the account, and say what happened, or count that it could not be said.

use aya_ebpf::helpers::{bpf_get_smp_processor_id, bpf_ktime_get_ns};
use netqueue_common::{Cell, Event, ListenerKey, Tally};

use crate::{
    kernel::{Fault, Peer, Queues, layout},
    maps::{EVENTS, tally},
    scope::CpuState,
};

/// The account a failed read leaves: none. Counted as unreadable.
#[inline(always)]
pub(crate) fn readable<T>(read: Result<T, Fault>) -> Option<T> {
    match read {
        Ok(value) => Some(value),
        Err(Fault) => {
            tally(Tally::Unreadable);
            None
        }
    }
}

/// What an event adds to its account and cell.
pub(crate) struct Facts {
    pub(crate) cell: Cell,
    pub(crate) peer: Peer,
    pub(crate) queues: Queues,
    pub(crate) reason: u32,
}

/// Puts one event into the ring buffer, or counts it as lost.
#[inline(always)]
pub(crate) fn report(state: &mut CpuState, key: &ListenerKey, facts: &Facts) {
    tally(Tally::EventsSeen);
    // SAFETY: helpers without arguments.
    let (now, cpu) = unsafe { (bpf_ktime_get_ns(), bpf_get_smp_processor_id()) };
    let event = Event {
        time: now,
        key: *key,
        peer_addr: facts.peer.addr,
        peer_port: facts.peer.port,
        peer_family: facts.peer.family,
        code: facts.cell as u32,
        cpu,
        reason: facts.reason,
        accept_length: facts.queues.accept_length,
        accept_limit: facts.queues.accept_limit,
        syn_length: facts.queues.syn_length,
        syn_limit: facts.queues.syn_limit,
    };
    match EVENTS.output::<Event>(&event, wake_flag(state, now)) {
        Ok(()) => tally(Tally::EventsSubmitted),
        Err(_full) => tally(Tally::EventsRingFull),
    }
    aya_log_ebpf::debug!(
        (),
        "cell {} port {} queue {}/{}",
        event.code,
        key.port,
        event.accept_length,
        event.accept_limit
    );
}

/// A wake-up costs microseconds, more than everything else here together. The reader is woken when a good part of the
/// ring is unread, or when this CPU has let it sleep for a while; in between it comes by itself.
#[inline(always)]
fn wake_flag(state: &mut CpuState, now: u64) -> u64 {
    const BPF_RB_NO_WAKEUP: u64 = 1;
    const BPF_RB_FORCE_WAKEUP: u64 = 2;
    const BPF_RB_AVAIL_DATA: u64 = 0;
    let rested = now.wrapping_sub(state.last_wake) >= u64::from(layout!(wake_interval));
    if rested || EVENTS.query(BPF_RB_AVAIL_DATA) >= u64::from(layout!(wake_bytes)) {
        state.last_wake = now;
        BPF_RB_FORCE_WAKEUP
    } else {
        BPF_RB_NO_WAKEUP
    }
}
