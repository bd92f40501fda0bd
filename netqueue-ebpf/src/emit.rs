//! Events: what happened to an account is reported, or counted as suppressed or lost.

use core::hint::cold_path;

use netqueue_common::{CounterId, EventRecord, ListenerKey, Tally};

use crate::{
    cpu::this_cpu,
    inflight::CpuState,
    layout::layout,
    maps::{CounterHandle, EVENTS},
    peer::Peer,
    read::{Fault, monotonic_now},
    slots,
    sock::Queues,
    tally::tally,
};

/// Ends one hook's part; a kernel structure that could not be read is counted.
///
/// Hooks pass a failed read on with `?` to here rather than going on with an `Option`: merged paths would let
/// the compiler load what only one of them wrote, which verifiers before 6.2 refuse.
#[inline(always)]
pub(crate) fn observe(done: Result<(), Fault>) -> u32 {
    if done.is_err() {
        cold_path();
        unreadable();
    }
    0
}

#[inline(never)]
fn unreadable() {
    tally(Tally::Unreadable);
}

/// Contents of an event, except the account's key, the time and the CPU.
pub(crate) struct EventFields {
    /// Number of the [`CounterId`](netqueue_common::CounterId) that is raised.
    pub(crate) code: u32,
    pub(crate) account: CounterHandle,
    pub(crate) local_port: u16,
    pub(crate) peer: Peer,
    pub(crate) queues: Queues,
    pub(crate) reason: u32,
    /// Nanoseconds since the final ACK of an expired handshake was dropped, for its reset; else 0.
    pub(crate) age: u64,
}

/// Puts one event into the ring buffer, or counts it as suppressed or lost.
#[inline(always)]
pub(crate) fn report(state: &mut CpuState, key: &ListenerKey, facts: &EventFields) {
    let now = rate_limit(facts.account);
    if now != 0 {
        send(state, key, facts, now);
    }
}

/// Returns the time if this account may send an event now; else 0, and the event counts as suppressed.
/// In a flood nothing else happens: a caller that calls this first need not gather the contents of the event.
#[inline(always)]
pub(crate) fn rate_limit(account: CounterHandle) -> u64 {
    tally(Tally::EventsSeen);
    let now = monotonic_now();
    if account.affords_event(now) {
        return now;
    }
    account.add(CounterId::EventsSuppressed, 1);
    tally(Tally::EventsSuppressed);
    0
}

/// Puts one event that [`rate_limit`] has allowed into the ring buffer, or counts it as lost.
#[inline(always)]
pub(crate) fn send(state: &mut CpuState, key: &ListenerKey, facts: &EventFields, now: u64) {
    // Queried before the reservation, so that only events that are unread already count.
    let wake = wake_flag(state, now);
    let Some(mut record) = EVENTS.reserve::<EventRecord>(0) else {
        facts.account.add(CounterId::EventsLost, 1);
        tally(Tally::EventsRingFull);
        return;
    };
    record.write(EventRecord {
        time: now,
        age: facts.age,
        key: *key,
        peer_addr: facts.peer.addr,
        peer_port: facts.peer.port,
        peer_family: facts.peer.family,
        local_port: u32::from(facts.local_port),
        code: facts.code,
        cpu: this_cpu(),
        reason: facts.reason,
        accept_length: facts.queues.accept_length,
        accept_limit: facts.queues.accept_limit,
        syn_length: facts.queues.syn_length,
        syn_limit: facts.queues.syn_limit,
        slot: facts.account.slot,
        generation: slots::generation(facts.account.slot),
        reserved: 0,
    });
    record.submit(wake);
    tally(Tally::EventsSubmitted);
    aya_log_ebpf::debug!((), "cell {} port {}", facts.code, key.port);
}

/// Returns the flag that wakes the reader or lets it sleep.
/// A wake-up costs microseconds, more than everything else here together. The reader is woken if a good part
/// of the ring is unread, or if this CPU has let it sleep for a while; in between it reads at intervals of
/// its own.
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
