//! EmbryonicRsts that only the counter itself reveals, because the caller is hidden.
//!
//! `tcp_check_req` raises the counter right after it has called `inet_csk_reqsk_queue_drop`. If another
//! tracer has put its own return address on the stack, nothing at the return shows that `tcp_check_req` is
//! the caller; the counter does, a moment later. So the listener is noted with the value of the counter, and
//! is charged when the next such call on this CPU, or the daemon, finds that the counter has moved. A caller
//! with another purpose moves nothing, and its note is replaced.

use netqueue_common::{CounterId, Tally};

use crate::{
    inflight::CpuState, maps::CounterHandle, mib_values::MibPtr, owed::Owed, slots, tally::tally,
    words::volatile,
};

/// Notes that the listener with this account is to be charged once the counter moves.
#[inline(always)]
pub(crate) fn owe(state: &mut CpuState, cells: MibPtr, account: CounterHandle) {
    settle(state);
    let owed = &mut state.owed;
    let Ok(before) = cells.embryonic() else { return };
    if volatile(&owed.busy) != 0 {
        tally(Tally::EntryMissed);
        return;
    }
    owed.before = before;
    (owed.slot, owed.generation) = (account.slot, slots::generation(account.slot));
    // Written last: until then no charge is pending.
    // SAFETY: a live member.
    unsafe { (&raw mut owed.cells).write_volatile(cells) };
}

/// Charges the noted listener if the counter has moved; returns whether the charge is still pending.
#[inline(always)]
pub(crate) fn settle(state: &mut CpuState) -> bool {
    let owed = &mut state.owed;
    let settled = volatile(&owed.settled);
    if volatile(&owed.cells).0 == 0 || volatile(&owed.busy) != 0 {
        return false;
    }
    set(&mut owed.busy, 1);
    // A program that came on top before that has settled the charge.
    let done = volatile(&owed.settled) != settled || settle_now(owed);
    set(&mut owed.busy, 0);
    !done
}

#[inline(always)]
fn settle_now(owed: &mut Owed) -> bool {
    let delta = volatile(&owed.cells).embryonic().map(|now| now != owed.before);
    if matches!(delta, Ok(false)) {
        return false;
    }
    owed.settled = owed.settled.wrapping_add(1);
    // SAFETY: a live member.
    unsafe { (&raw mut owed.cells).write_volatile(MibPtr(0)) };
    if matches!(delta, Ok(true)) && slots::is_still(owed.slot, owed.generation) {
        CounterHandle::at(owed.slot).add(CounterId::EmbryonicRsts, 1);
    }
    true
}

#[inline(always)]
fn set(flag: &mut u64, value: u64) {
    // SAFETY: a reference is writable.
    unsafe { core::ptr::write_volatile(flag, value) };
}
