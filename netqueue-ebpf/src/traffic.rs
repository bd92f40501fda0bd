//! What goes through a listener when nothing is wrong: who entered its accept queue, how long that was, who left it.
//!
//! All of this runs for each healthy connection, so nothing here is a hash map, a ring or, but for the wait, a time stamp.
//! A listener's slot is found by a guess that is checked, and only a wrong guess asks the hash. A connection is paired
//! with its listener in a table addressed by its socket: entered here when it is made, taken out when it is accepted or
//! forgotten. What the table has no room for is counted.

use aya_ebpf::{macros::map, maps::Array};
use netqueue_common::{Control, Look, NO_SLOT, QueuedSet, Tally, Traffic, Waits};

use crate::{
    kernel::{Fault, Sock, layout, monotonic_now, volatile},
    maps::{Account, BPF_F_MMAPABLE, raise, tally, this_cpu},
    mib::Cells,
    scope::{CpuState, Guess},
    slots::{generation, holds},
};

/// The loader sets the sizes of the maps of slots.
#[map]
static TRAFFIC: Array<Traffic> = Array::with_max_entries(1, BPF_F_MMAPABLE);
#[map]
static WAITS: Array<Waits> = Array::with_max_entries(1, BPF_F_MMAPABLE);

/// What the queues of listeners were when they were looked at last.
#[map]
static LOOKS: Array<Look> = Array::with_max_entries(1, BPF_F_MMAPABLE);

/// What the daemon tells.
#[map]
static CONTROL: Array<Control> = Array::with_max_entries(1, BPF_F_MMAPABLE);

/// Room for 65,536 connections in accept queues.
const SETS: u32 = 1 << 14;
#[map]
static QUEUED: Array<QueuedSet> = Array::with_max_entries(SETS, 0);

static WAIT_BOUNDS: [u32; 64] = Waits::BOUNDS;

/// A connection was made and enters its listener's accept queue, which is so long. Bottom halves are off.
#[inline(always)]
pub(crate) fn entered(
    state: &mut CpuState,
    listener: Sock,
    child: u64,
    length: impl FnOnce() -> Result<u32, Fault>,
) -> Result<(), Fault> {
    let Guess { slot, generation, .. } = guess_of(state, listener)?;
    let Some(row) = row(slot) else { return Ok(()) };
    // SAFETY: a live map value.
    unsafe { raise(&raw mut (*row).established, 1) };
    if layout!(queue_depth) != 0 {
        note_length(row, length()?.wrapping_add(1));
    }
    if layout!(accept_wait) != 0 {
        remember(child, slot, generation);
    }
    Ok(())
}

/// Notes how long the accept queue is with the connection that enters it.
#[inline(always)]
fn note_length(row: *mut Traffic, length: u32) {
    let epoch = CONTROL.get(0).map_or(0, |control| volatile(&control.epoch));
    // SAFETY: a live map value; the indices are below the arrays' sizes; only this CPU writes the peaks, with bottom
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

/// accept() hands a socket to a process. It is of no interest unless it is a connection from an accept queue, which it entered
/// when it was established, in the same breath.
#[inline(always)]
pub(crate) fn accepted(child: u64, established: impl FnOnce(u64) -> Result<u64, Fault>) -> Result<(), Fault> {
    let (child, slot) = match take(child) {
        NO_SLOT => {
            // What accept() gives of Multipath TCP stands above the connection that waited.
            let first = Sock(child).first_subflow();
            (first, if first == 0 { NO_SLOT } else { take(first) })
        }
        slot => (child, slot),
    };
    let Some(row) = row(slot) else { return Ok(()) };
    // SAFETY: a live map value.
    unsafe { raise(&raw mut (*row).accepted, 1) };
    // Only the application's reading moves it, which comes after accept().
    let since = established(child)?;
    let waits = WAITS.get_ptr_mut(slot);
    match waits {
        Some(waits) if since != 0 => {
            let micros = (monotonic_now() / 1000).saturating_sub(since);
            // SAFETY: a live map value; the index is below the arrays' sizes.
            unsafe {
                let bucket = wait_bucket(micros);
                raise((&raw mut (*waits).counts).cast::<u64>().add(bucket), 1);
                raise((&raw mut (*waits).sums).cast::<u64>().add(bucket), micros);
            }
        }
        // SAFETY: a live map value.
        _ => unsafe { raise(&raw mut (*row).unmeasured, 1) },
    }
    Ok(())
}

/// A connection will never be accepted: its listener is closed.
#[inline(always)]
pub(crate) fn abandoned(child: u64) {
    if let Some(row) = row(take(child)) {
        // SAFETY: a live map value.
        unsafe { raise(&raw mut (*row).abandoned, 1) };
    }
}

/// A listener sent a SYN-ACK again.
#[inline(always)]
pub(crate) fn synack_sent_again(state: &mut CpuState, listener: Sock) -> Result<(), Fault> {
    if let Some(row) = row(slot_of(state, listener)?) {
        // SAFETY: a live map value.
        unsafe { raise(&raw mut (*row).synack_retransmits, 1) };
    }
    Ok(())
}

/// Notes how a listener's queues are now.
#[inline(always)]
pub(crate) fn note_look(slot: u32, seen: Look) {
    if let Some(look) = LOOKS.get_ptr_mut(slot) {
        // SAFETY: a live map value, written by the one program that looks.
        unsafe { look.write(seen) };
    }
}

/// Sets what is known of a slot to zero. To be called where no program can charge it any more.
#[inline(always)]
pub(crate) fn clear(slot: u32) {
    if slot >= layout!(listeners) {
        return;
    }
    for cpu in 0..layout!(cpus) {
        if let Some(row) = TRAFFIC.get_ptr_mut(slot * layout!(cpus) + cpu) {
            for word in 0..size_of::<Traffic>() / 8 {
                // SAFETY: a live map value of that many words. Volatile: no call to a memory function.
                unsafe { row.cast::<u64>().add(word).write_volatile(0) };
            }
        }
    }
    if let Some(waits) = WAITS.get_ptr_mut(slot) {
        for word in 0..Waits::WORDS {
            // SAFETY: as above.
            unsafe { waits.cast::<u64>().add(word).write_volatile(0) };
        }
    }
}

/// This CPU's row of a listener's slot; `None` for what is no listener's.
#[inline(always)]
fn row(slot: u32) -> Option<*mut Traffic> {
    if slot < layout!(listeners) { TRAFFIC.get_ptr_mut(slot * layout!(cpus) + this_cpu()) } else { None }
}

/// The slot of a listener.
#[inline(always)]
pub(crate) fn slot_of(state: &mut CpuState, sk: Sock) -> Result<u32, Fault> {
    guess_of(state, sk).map(|guess| guess.slot)
}

/// What is known of a listener: what it was when this CPU saw it last, if that is still so.
#[inline(always)]
fn guess_of(state: &mut CpuState, sk: Sock) -> Result<Guess, Fault> {
    let known = &state.guesses[Guess::place(sk.0)];
    if holds(known, sk.0) {
        return Ok(*known);
    }
    let slot = Account::open(&mut sk.listener_key()?).slot;
    let cells = Cells::linux(state, sk.net()?)?.0;
    let guess = Guess { slot, generation: generation(slot), cells, drops: Guess::NOT_LOOKED };
    state.guesses[Guess::place(sk.0)] = guess;
    Ok(guess)
}

/// The cells were looked at when the listener had dropped so many packets.
#[inline(always)]
pub(crate) fn looked(state: &mut CpuState, sk: Sock, drops: u64) -> Result<(), Fault> {
    slot_of(state, sk)?;
    state.guesses[Guess::place(sk.0)].drops = drops;
    Ok(())
}

#[inline(always)]
fn set_of(child: u64) -> Option<*mut QueuedSet> {
    QUEUED.get_ptr_mut((child.wrapping_mul(Guess::GOLDEN) >> (64 - SETS.trailing_zeros())) as u32)
}

/// Pairs a connection with its listener's slot.
#[inline(always)]
fn remember(child: u64, slot: u32, generation: u32) {
    let Some(set) = set_of(child) else { return };
    let mut place = 0;
    // SAFETY: a live map value, words of it, indices below the arrays' sizes. Two CPUs may choose one place at once: then
    // one of the two is forgotten, which `accepted` cannot see and the sums can.
    unsafe {
        while place < 4 && !matches!((*set).socks[place], sock if sock == 0 || sock == child) {
            place += 1;
        }
        if place == 4 {
            place = (child >> 12 & 3) as usize;
            tally(Tally::QueuedForgotten);
        }
        (&raw mut (*set).slots[place]).write_volatile(u64::from(generation) << 32 | u64::from(slot));
        (&raw mut (*set).socks[place]).write_volatile(child);
    }
}

/// The slot of the listener that a connection was paired with, once; [`NO_SLOT`] where there is none.
#[inline(always)]
fn take(child: u64) -> u32 {
    // No connection: a place without one would do for it.
    if child == 0 {
        return NO_SLOT;
    }
    let Some(set) = set_of(child) else { return NO_SLOT };
    for place in 0..4 {
        // SAFETY: as in `remember`.
        unsafe {
            if (*set).socks[place] == child {
                let paired = (&raw const (*set).slots[place]).read_volatile();
                (&raw mut (*set).socks[place]).write_volatile(0);
                let slot = paired as u32;
                return if generation(slot) == (paired >> 32) as u32 { slot } else { NO_SLOT };
            }
        }
    }
    NO_SLOT
}

/// Bucket `n` ends at `1 << n`.
#[inline(always)]
fn depth_bucket(length: u32) -> usize {
    let mut bucket = 0;
    while bucket < Traffic::DEPTHS - 1 && length > 1 << bucket {
        bucket += 1;
    }
    bucket
}

/// A search by halves: how many bounds are below the wait. Most are in the first.
#[inline(always)]
fn wait_bucket(micros: u64) -> usize {
    if micros <= u64::from(Waits::BOUNDS[0]) {
        return 0;
    }
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
