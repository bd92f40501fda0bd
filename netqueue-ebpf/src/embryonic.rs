//! EmbryonicRsts that only the counter itself can tell of: the caller of `inet_csk_reqsk_queue_drop` is hidden.
//!
//! `tcp_check_req` raises the counter right after that call. Where another tracer has put its own return address on the stack,
//! nothing says at the return that `tcp_check_req` is who called; the counter does, a moment later. So the listener is noted with
//! what the counter was, and is charged when the next such call on this CPU, or the daemon, finds it moved. Whoever calls the
//! function for another purpose moves nothing, and its note is replaced.

use netqueue_common::{Cell, Tally};

use crate::{
    kernel::volatile,
    maps::{Account, tally},
    mib::Cells,
    scope::CpuState,
    slots,
};

/// One CPU's note. Programs on top of each other may come here: a softirq's on top of the daemon's, which itself may interrupt a
/// softirq's. Each runs to its end before what is below goes on.
#[repr(C)]
pub(crate) struct Owed {
    /// Where the counter is; 0: nobody is owed anything.
    cells: Cells,
    /// What it was.
    before: u64,
    slot: u32,
    generation: u32,
    /// A program is at it, perhaps below this one.
    busy: u64,
    /// How often it was settled.
    settled: u64,
}

/// The listener with this account is charged once the counter moves.
#[inline(always)]
pub(crate) fn owe(state: &mut CpuState, cells: Cells, account: Account) {
    settle(state);
    let owed = &mut state.owed;
    let Ok(before) = cells.embryonic() else { return };
    if volatile(&owed.busy) != 0 {
        tally(Tally::EntryMissed);
        return;
    }
    owed.before = before;
    (owed.slot, owed.generation) = (account.slot, slots::generation(account.slot));
    // Last: until then there is nothing here to be settled.
    // SAFETY: a live member.
    unsafe { (&raw mut owed.cells).write_volatile(cells) };
}

/// Charges the listener on record where the counter has moved; whether it is still to be charged.
#[inline(always)]
pub(crate) fn settle(state: &mut CpuState) -> bool {
    let owed = &mut state.owed;
    let settled = volatile(&owed.settled);
    if volatile(&owed.cells).0 == 0 || volatile(&owed.busy) != 0 {
        return false;
    }
    set(&mut owed.busy, 1);
    // What came on top before that has settled it.
    let done = volatile(&owed.settled) != settled || settle_now(owed);
    set(&mut owed.busy, 0);
    !done
}

#[inline(always)]
fn settle_now(owed: &mut Owed) -> bool {
    let moved = volatile(&owed.cells).embryonic().map(|now| now != owed.before);
    if matches!(moved, Ok(false)) {
        return false;
    }
    owed.settled = owed.settled.wrapping_add(1);
    // SAFETY: a live member.
    unsafe { (&raw mut owed.cells).write_volatile(Cells(0)) };
    if matches!(moved, Ok(true)) && slots::is_still(owed.slot, owed.generation) {
        Account::at(owed.slot).add(Cell::EmbryonicRsts, 1);
    }
    true
}

#[inline(always)]
fn set(flag: &mut u64, value: u64) {
    // SAFETY: a reference is writable.
    unsafe { core::ptr::write_volatile(flag, value) };
}
