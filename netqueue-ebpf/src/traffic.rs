//! Healthy traffic of a listener: connections that enter its accept queue or leave it, and its length.
//!
//! All of this runs for each healthy connection. So nothing here is a hash map or a ring, only the wait takes
//! a time stamp, and the common case is an addition or two: a queue that was empty, a wait in the first
//! bucket. Rare cases have functions of their own, so that the common one needs few registers.
//!
//! A guess, which is checked, gives a listener's slot; only a wrong guess leads to a look-up in the hash. A
//! connection is paired with its listener (pending_accept.rs) from when it is made until it is accepted or forgotten.

use core::{hint::cold_path, ptr};

use aya_ebpf::{helpers::generated::bpf_map_lookup_elem, macros::map, maps::Array};
use netqueue_common::{Control, QueueSample, TrafficRow, Waits};

use crate::{
    inflight::{CpuState, ListenerCache},
    layout::layout,
    maps::{CounterHandle, first_row, this_row},
    mib_values::MibPtr,
    pending_accept::{self, Pending},
    read::{Fault, monotonic_now},
    slots::{self, Need, holds, is_fresh},
    sock::Sock,
    tally::BPF_F_MMAPABLE,
    words::{raise, volatile},
};

/// Traffic of listeners, by row. The loader sets the sizes of the maps of slots.
#[map(name = "nq_traffic")]
static TRAFFIC: Array<TrafficRow> = Array::with_max_entries(1, BPF_F_MMAPABLE);
#[map(name = "nq_accept_waits")]
static WAITS: Array<Waits> = Array::with_max_entries(1, BPF_F_MMAPABLE);

/// Last samples of listeners' queues, by slot.
#[map(name = "nq_queue_sample")]
static QUEUE_SAMPLES: Array<QueueSample> = Array::with_max_entries(1, BPF_F_MMAPABLE);

/// Settings that the daemon changes at run time.
#[map(name = "nq_control")]
static CONTROL: Array<Control> = Array::with_max_entries(1, BPF_F_MMAPABLE);

static WAIT_BOUNDS: [u32; 64] = Waits::BOUNDS;

/// Notes that a connection was made and enters its listener's accept queue.
/// `child` returns the connection's socket, `length` the queue's length without it. Bottom halves are off.
#[inline(always)]
pub(crate) fn entered(
    state: &mut CpuState,
    listener: Sock,
    child: impl FnOnce() -> u64,
    length: impl FnOnce() -> Result<u32, Fault>,
) -> Result<(), Fault> {
    let index = ListenerCache::index(listener.0);
    if !is_fresh(&state.listener_cache[index], listener.0) {
        cold_path();
        refresh_cold(state, listener)?;
    }
    let cached = &state.listener_cache[index];
    let Some(row) = row_at(&cached.row) else { return Ok(()) };
    let others = if layout!(queue_depth) == 0 { Ok(0) } else { length() };
    match others {
        Ok(others) if others != 0 => {
            cold_path();
            note_length(row, others.wrapping_add(1));
        }
        // SAFETY: a live map value.
        Ok(_) | Err(Fault) => unsafe { raise((&raw mut (*row).depth).cast::<u64>(), 1) },
    }
    if layout!(accept_wait) != 0 {
        pending_accept::remember(child(), cached.owner);
    }
    others.map(drop)
}

/// Notes the accept queue's length with the connection that enters it, if it is not alone there.
/// If CPUs share a row, the higher of two peaks that they note at the same instant may be lost; counts are
/// not.
#[inline(never)]
fn note_length(row: *mut TrafficRow, length: u32) {
    let epoch = CONTROL.get(0).map_or(0, |control| volatile(&control.epoch));
    // SAFETY: a live map value; the indices are below the arrays' sizes; the peaks are written with bottom
    // halves off.
    unsafe {
        raise(&raw mut (*row).depth_sum, u64::from(length));
        raise((&raw mut (*row).depth).cast::<u64>().add(depth_bucket(length)), 1);
        let peak = (&raw mut (*row).peaks).cast::<u64>().add((epoch & 1) as usize);
        let now = epoch << 32 | u64::from(length);
        if *peak < now {
            *peak = now;
        }
    }
}

/// Notes that accept() hands a socket to a process.
/// Only a connection from an accept queue matters. It entered the queue at the moment it was established.
#[inline(always)]
pub(crate) fn accepted(child: u64, established: impl FnOnce(u64) -> Result<u64, Fault>) -> Result<(), Fault> {
    match pending_accept::take_first(child, row_from) {
        Some(pair) => taken(child, pair, established),
        None => {
            cold_path();
            accepted_elsewhere(child)
        }
    }
}

/// Notes an accepted socket that is not in the first place of its set, if it is in the table at all.
#[inline(never)]
fn accepted_elsewhere(child: u64) -> Result<(), Fault> {
    let established = |connection| Sock(connection).established();
    if let Some(pair) = pending_accept::take(child, row_from) {
        return taken(child, pair, established);
    }
    // For Multipath TCP, accept() gives a socket above that of the connection that waited.
    match Sock(child).first_subflow() {
        0 => Ok(()),
        first => match pending_accept::take(first, row_from) {
            Some(pair) => taken(first, pair, established),
            None => Ok(()),
        },
    }
}

/// Notes that a connection was taken out of its accept queue, and its wait.
#[inline(always)]
fn taken(
    child: u64,
    pair: Pending<Option<*mut TrafficRow>>,
    established: impl FnOnce(u64) -> Result<u64, Fault>,
) -> Result<(), Fault> {
    let first_row = pair.first_row;
    let Some(row) = still_its_own(pair) else { return Ok(()) };
    // Only reads by the application move this time, and they come after accept().
    match established(child) {
        Ok(since) if since != 0 => {
            // Both are compared as microseconds rounded down, the unit of the buckets.
            let waited = monotonic_now().wrapping_sub(since * 1000);
            if waited < (u64::from(Waits::BOUNDS[0]) + 1) * 1000 {
                // SAFETY: a live map value.
                unsafe {
                    raise(&raw mut (*row).prompt, 1);
                    raise(&raw mut (*row).prompt_nanos, waited);
                }
            } else {
                cold_path();
                note_wait(first_row, waited);
            }
            Ok(())
        }
        measured => {
            cold_path();
            note_unmeasured(first_row);
            measured.map(drop)
        }
    }
}

/// Returns the waits of the listener whose rows begin there.
#[inline(always)]
fn waits(first_row: u32) -> Option<*mut Waits> {
    // The verifier knows that the number of rows is not 0; the compiler does not.
    WAITS.get_ptr_mut(first_row.checked_div(layout!(rows)).unwrap_or(0))
}

/// Notes that a connection was accepted whose wait could not be measured.
#[inline(never)]
fn note_unmeasured(first_row: u32) {
    if let Some(waits) = waits(first_row) {
        // SAFETY: a live map value.
        unsafe { raise(&raw mut (*waits).unmeasured, 1) };
    }
}

/// Notes the wait of a connection that was not accepted at once.
#[inline(never)]
fn note_wait(first_row: u32, nanos: u64) {
    let Some(waits) = waits(first_row) else { return };
    // If the clocks of two CPUs differ, the wait may be negative.
    let micros = if nanos.cast_signed() < 0 { 0 } else { nanos / 1000 };
    // SAFETY: a live map value; the index is below the arrays' sizes.
    unsafe {
        let bucket = wait_bucket(micros);
        raise((&raw mut (*waits).counts).cast::<u64>().add(bucket), 1);
        raise((&raw mut (*waits).sums).cast::<u64>().add(bucket), micros);
    }
}

/// Notes that a connection will never be accepted, because its listener is closed.
#[inline(always)]
pub(crate) fn abandoned(child: u64) {
    if child != 0
        && let Some(row) = pending_accept::take(child, row_from).and_then(still_its_own)
    {
        // SAFETY: a live map value.
        unsafe { raise(&raw mut (*row).abandoned, 1) };
    }
}

/// Notes that a listener sent a SYN-ACK again.
#[inline(always)]
pub(crate) fn synack_sent_again(state: &mut CpuState, listener: Sock) -> Result<(), Fault> {
    let index = ListenerCache::index(listener.0);
    refresh(state, listener, index, Need::TrafficRow)?;
    if let Some(row) = row_at(&state.listener_cache[index].row) {
        // SAFETY: a live map value.
        unsafe { raise(&raw mut (*row).synack_retransmits, 1) };
    }
    Ok(())
}

/// Notes a sample of a listener's queues.
#[inline(always)]
pub(crate) fn note_look(slot: u32, seen: QueueSample) {
    if let Some(look) = QUEUE_SAMPLES.get_ptr_mut(slot) {
        // SAFETY: a live map value, which only the sampling program writes.
        unsafe { look.write(seen) };
    }
}

/// Sets the traffic of a slot to zero, for its next generation.
/// Only to be called once no program can charge the slot any more.
#[inline(always)]
pub(crate) fn clear(slot: u32, generation: u32) {
    if slot >= layout!(listeners) {
        return;
    }
    for row in 0..layout!(rows) {
        if let Some(row) = TRAFFIC.get_ptr_mut(first_row(slot).wrapping_add(row)) {
            for word in 0..size_of::<TrafficRow>() / 8 {
                // SAFETY: a live map value of that many words. Volatile: otherwise the compiler emits a call
                // to a memory function.
                unsafe { row.cast::<u64>().add(word).write_volatile(0) };
            }
            // SAFETY: as above.
            unsafe { (*row).generation = u64::from(generation) };
        }
    }
    if let Some(waits) = WAITS.get_ptr_mut(slot) {
        for word in 0..Waits::WORDS {
            // SAFETY: as above.
            unsafe { waits.cast::<u64>().add(word).write_volatile(0) };
        }
    }
}

/// Returns the row with this number, read from where it is: `TRAFFIC.get_ptr_mut` would copy it first.
/// `None` for an account that is no listener's: its rows have higher numbers, or none
/// ([`NO_SLOT`](netqueue_common::NO_SLOT), whose rows are among the highest).
#[inline(always)]
fn row_at(number: &u32) -> Option<*mut TrafficRow> {
    // SAFETY: a map, which is known by its address, and a key that it reads.
    let row =
        unsafe { bpf_map_lookup_elem((&raw const TRAFFIC).cast_mut().cast(), ptr::from_ref(number).cast()) };
    if row.is_null() { None } else { Some(row.cast()) }
}

/// Returns this CPU's row of the listener whose rows begin there.
#[inline(always)]
fn row_from(first_row: u32) -> Option<*mut TrafficRow> {
    TRAFFIC.get_ptr_mut(first_row.wrapping_add(this_row()))
}

/// Returns the row of a connection's listener, if the row is still the listener's own.
#[inline(always)]
fn still_its_own(
    Pending { row, generation, .. }: Pending<Option<*mut TrafficRow>>,
) -> Option<*mut TrafficRow> {
    let row = row?;
    // SAFETY: a live map value.
    if unsafe { (*row).generation } == u64::from(generation) { Some(row) } else { None }
}

/// Returns the slot that a listener is charged under.
#[inline(always)]
pub(crate) fn slot_of(state: &mut CpuState, sk: Sock) -> Result<u32, Fault> {
    let index = ListenerCache::index(sk.0);
    refresh(state, sk, index, Need::Charge)?;
    Ok(state.listener_cache[index].slot)
}

/// Makes sure that a listener's guess, at this place, is valid, and replaces it if it is not.
#[inline(always)]
fn refresh(state: &mut CpuState, sk: Sock, index: usize, need: Need) -> Result<(), Fault> {
    if holds(&mut state.listener_cache[index], sk.0) {
        return Ok(());
    }
    let mut key = sk.listener_key()?;
    let slot = match need {
        Need::Charge => CounterHandle::open(&mut key).slot,
        Need::TrafficRow => slots::of(&key, need),
    };
    let cells = MibPtr::linux(state, sk.net()?)?.0;
    state.listener_cache[index] = slots::cached(sk.0, slot, cells);
    Ok(())
}

/// Calls [`refresh`] out of line, which is cheaper where it is seldom needed.
#[inline(never)]
fn refresh_cold(state: &mut CpuState, sk: Sock) -> Result<(), Fault> {
    refresh(state, sk, ListenerCache::index(sk.0), Need::TrafficRow)
}

/// Notes how many packets a listener had dropped when this CPU read the counters.
#[inline(always)]
pub(crate) fn looked(state: &mut CpuState, sk: Sock, drops: u64) -> Result<(), Fault> {
    let index = ListenerCache::index(sk.0);
    refresh(state, sk, index, Need::TrafficRow)?;
    state.listener_cache[index].drops = drops;
    Ok(())
}

/// Returns the bucket of a length; bucket `n` ends at `1 << n`.
#[inline(always)]
fn depth_bucket(length: u32) -> usize {
    let mut bucket = 0;
    while bucket < TrafficRow::DEPTHS - 1 && length > 1 << bucket {
        bucket += 1;
    }
    bucket
}

/// Returns the bucket of a wait by binary search: the number of bounds below the wait.
#[inline(always)]
fn wait_bucket(micros: u64) -> usize {
    let mut bucket = 0;
    let mut half = 32;
    while half > 0 {
        if micros > u64::from(volatile(&WAIT_BOUNDS[(bucket + half - 1) & 63])) {
            bucket += half;
        }
        half /= 2;
    }
    bucket.min(Waits::BUCKETS - 1)
}
