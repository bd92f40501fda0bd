//! The maps, and the few ways in which they are written.
//!
//! Counts are in arrays that the daemon maps into its memory, with a row for each CPU that is present, up to
//! a bound; CPUs beyond it share rows, whose words are raised atomically. The daemon never reads them by a
//! system call: `bpf(BPF_MAP_LOOKUP_ELEM)` raises `bpf_prog_active` on its CPU, and while it is raised, also
//! while the daemon is preempted there, the kernel skips every kprobe program on that CPU.

use core::{
    arch::asm,
    hint::{assert_unchecked, black_box},
    ptr::null_mut,
};

use aya_ebpf::{
    macros::map,
    maps::{Array, RingBuf},
};
use netqueue_common::{CounterId, CounterRow, NO_SLOT};

use crate::{
    cpu::this_cpu,
    inflight::CpuState,
    layout::{layout, masked},
    tally::BPF_F_MMAPABLE,
    words::raise,
};

/// Exact counts, indexed by slot times number of rows plus row.
#[map(name = "nq_counts")]
static COUNTS: Array<CounterRow> = Array::with_max_entries(1, BPF_F_MMAPABLE);

/// Drops and resets as they happen. The loader sets the size.
#[map(name = "nq_events")]
pub(crate) static EVENTS: RingBuf = RingBuf::with_byte_size(1 << 20, 0);

/// State of each CPU, for all of which the loader makes room.
/// The address of a global is known when a program is loaded, so that nothing has to be looked up.
#[unsafe(link_section = ".bss.states")]
#[unsafe(no_mangle)]
static mut STATES: CpuState = {
    // SAFETY: integers only; all zeroes is a value.
    unsafe { core::mem::zeroed() }
};

/// Returns this CPU's state.
#[inline(always)]
pub(crate) fn state() -> &'static mut CpuState {
    // There are as many states as the mask allows for, and no fewer than CPUs.
    let cpu = masked!(u64::from(this_cpu()), state_mask);
    let states: *mut CpuState;
    // SAFETY: the address is that of one element to the compiler, which the loader makes an array. Each
    // element lives as long as the program and belongs to its CPU. Programs of functions that run with bottom
    // halves off have it to themselves; those of other functions use none of it, or members of their own
    // (send_reset.rs).
    unsafe {
        asm!("{0} = {1} ll", lateout(reg) states, sym STATES, options(pure, nomem, nostack));
        assert_unchecked(!states.is_null());
        &mut *states.add(cpu as usize)
    }
}

/// Returns the number of a slot's first row; for [`NO_SLOT`], a number that no map has.
#[inline(always)]
pub(crate) fn first_row(slot: u32) -> u32 {
    slot.wrapping_mul(layout!(rows))
}

/// Returns the index of this CPU's row among those of a slot.
/// A CPU that comes online late shares the row of another CPU.
#[inline(always)]
pub(crate) fn this_row() -> u32 {
    masked!(u64::from(this_cpu()), row_mask) as u32
}

/// One account's counts on this CPU.
///
/// Not an `Option`: the verifier requires every value that a program loads to be defined on all paths that
/// lead there, even where the value is not used.
#[derive(Clone, Copy)]
pub(crate) struct CounterHandle {
    /// This CPU's row; null if no slot was left.
    row: *mut CounterRow,
    /// The slot, or [`NO_SLOT`].
    pub(crate) slot: u32,
}

impl CounterHandle {
    /// Returns the account with this slot; for [`NO_SLOT`], one that counts nothing.
    #[inline(always)]
    pub(crate) fn at(slot: u32) -> Self {
        let row = match slot {
            NO_SLOT => None,
            slot => COUNTS.get_ptr_mut(first_row(slot).wrapping_add(this_row())),
        };
        Self { row: row.unwrap_or(null_mut()), slot }
    }

    /// Adds `amount` to one cell.
    /// Without a check for 0: a branch is no cheaper, and the verifier would follow both of its paths.
    #[inline(always)]
    pub(crate) fn add(self, cell: CounterId, amount: u64) {
        // SAFETY: the index is below COUNT by the enum's definition.
        unsafe { self.raise(cell as usize, amount) };
    }

    /// Adds `amount` to the cell with a code that was not known at compile time.
    #[inline(always)]
    pub(crate) fn add_code(self, code: u32, amount: u64) {
        // The compiler knows that the code is a cell's and would omit the comparison; the verifier does not.
        let index = black_box(code) as usize;
        if index < CounterId::COUNT {
            // SAFETY: the index is below COUNT.
            unsafe { self.raise(index, amount) };
        }
    }

    /// Returns whether this account may send an event now on this CPU; if so, charges its allowance.
    /// A flood thus takes neither the ring nor the reader's time from other accounts.
    #[inline(always)]
    pub(crate) fn affords_event(self, now: u64) -> bool {
        if self.row.is_null() || layout!(event_cost) == 0 {
            return true;
        }
        // SAFETY: a live map value, aligned to eight. A softirq on top of a program in process context may
        // write it between the two: then one event is not paid for.
        let paid_until = unsafe { &raw mut (*self.row).paid_until };
        // SAFETY: as above.
        let due = unsafe { paid_until.read_volatile() };
        if due > now + layout!(event_burst) {
            return false;
        }
        let due = if due > now { due } else { now };
        // SAFETY: as above.
        unsafe { paid_until.write_volatile(due + layout!(event_cost)) };
        true
    }

    /// Adds `amount` to the cell at `index`.
    ///
    /// # Safety
    /// `index` must be below `CounterId::COUNT`.
    #[inline(always)]
    unsafe fn raise(self, index: usize, amount: u64) {
        if !self.row.is_null() {
            // SAFETY: a live map value, aligned to eight, and see above.
            unsafe { raise((&raw mut (*self.row).cells).cast::<u64>().add(index), amount) };
        }
    }
}

/// Sets every row of a slot's counts to zero.
/// Only to be called once no program can charge the slot any more.
#[inline(always)]
pub(crate) fn clear(slot: u32) {
    for row in 0..layout!(rows) {
        if let Some(row) = COUNTS.get_ptr_mut(first_row(slot).wrapping_add(row)) {
            for cell in 0..CounterRow::WORDS {
                // SAFETY: a live map value of that many words, aligned to eight. Volatile: otherwise the
                // compiler emits a call to a memory function.
                unsafe { row.cast::<u64>().add(cell).write_volatile(0) };
            }
        }
    }
}
