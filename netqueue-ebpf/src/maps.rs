//! The maps, and the few ways they are written.
//!
//! Counts lie in arrays that the daemon maps into its memory, a row for each CPU. It never reads them by a system call:
//! `bpf(BPF_MAP_LOOKUP_ELEM)` raises `bpf_prog_active` on its CPU, and while it is raised, also while the daemon is
//! preempted there, the kernel skips every kprobe program on that CPU.

use core::{
    hint::black_box,
    intrinsics::{AtomicOrdering, atomic_xadd},
    ptr::null_mut,
};

use aya_ebpf::{
    helpers::bpf_get_smp_processor_id,
    macros::map,
    maps::{Array, HashMap, PerCpuArray, RingBuf, Stack},
};
use netqueue_common::{Account as Owner, Cell, Counts, ListenerKey, NO_SLOT, Tallies, Tally};

use crate::{
    kernel::{Fault, layout},
    scope::CpuState,
};

pub(crate) const BPF_F_MMAPABLE: u32 = 1 << 10;

/// Which slot holds whose counts. The loader sets the sizes of all maps of slots.
#[map]
static SLOTS: HashMap<ListenerKey, u32> = HashMap::with_max_entries(1, 0);

/// Free slots, by what they are for: neither listeners nor endpoints can use up the other's room.
#[map]
static FREE_LISTENERS: Stack<u32> = Stack::with_max_entries(1, 0);
#[map]
static FREE_ENDPOINTS: Stack<u32> = Stack::with_max_entries(1, 0);
#[map]
static FREE_OTHERS: Stack<u32> = Stack::with_max_entries(1, 0);

/// Whose counts a slot holds.
#[map]
static ACCOUNTS: Array<Owner> = Array::with_max_entries(1, BPF_F_MMAPABLE);

/// The exact counts: slot times number of CPUs plus CPU.
#[map]
static COUNTS: Array<Counts> = Array::with_max_entries(1, BPF_F_MMAPABLE);

/// What the kernel side says about itself, by CPU.
#[map]
static TALLIES: Array<Tallies> = Array::with_max_entries(1, BPF_F_MMAPABLE);

/// Drops and resets as they happen. The loader sets the size.
#[map]
pub(crate) static EVENTS: RingBuf = RingBuf::with_byte_size(1 << 20, 0);

/// This CPU's open scopes.
#[map]
static STATE: PerCpuArray<CpuState> = PerCpuArray::with_max_entries(1, 0);

/// This CPU's state. It is always there; the verifier wants it asked.
#[inline(always)]
pub(crate) fn state() -> Result<&'static mut CpuState, Fault> {
    let pointer = STATE.get_ptr_mut(0).ok_or(Fault)?;
    // SAFETY: the map's value lives as long as the program, belongs to this CPU, and its programs are not preempted
    // while they run; scopes of process context are kept apart (scope.rs).
    Ok(unsafe { &mut *pointer })
}

/// Counts one of the kernel side's own mishaps.
#[inline(always)]
pub(crate) fn tally(which: Tally) {
    if let Some(row) = TALLIES.get_ptr_mut(this_cpu()) {
        // SAFETY: a live map value, aligned to eight; the index is below COUNT by the enum's definition.
        unsafe { raise((&raw mut (*row).cells).cast::<u64>().add(which as usize), 1) };
    }
}

#[inline(always)]
pub(crate) fn this_cpu() -> u32 {
    // SAFETY: a helper without arguments.
    unsafe { bpf_get_smp_processor_id() }
}

/// One account's counts on this CPU.
///
/// Not an `Option`: whatever a program loads must be defined on every path that leads there, also where it is not used.
#[derive(Clone, Copy)]
pub(crate) struct Account {
    /// Null where no slot was left.
    row: *mut Counts,
    /// The slot, or [`NO_SLOT`].
    pub(crate) slot: u32,
}

impl Account {
    /// The account of `key`: its own, else its namespace's `other` bucket, which `key` then names, else none; each step
    /// down is counted.
    #[inline(always)]
    pub(crate) fn open(key: &mut ListenerKey) -> Self {
        let mut slot =
            if key.sock == 0 { slot_of(&FREE_ENDPOINTS, key) } else { slot_of(&FREE_LISTENERS, key) };
        if slot == NO_SLOT {
            *key = ListenerKey::other(key.netns);
            slot = slot_of(&FREE_OTHERS, key);
            tally(if slot == NO_SLOT { Tally::ChargesLost } else { Tally::ChargesFolded });
        }
        let row = match slot {
            NO_SLOT => None,
            slot => COUNTS.get_ptr_mut(slot * layout!(cpus) + this_cpu()),
        };
        Self { row: row.unwrap_or(null_mut()), slot }
    }

    /// Raises one cell.
    #[inline(always)]
    pub(crate) fn add(self, cell: Cell, amount: u64) {
        if amount != 0 {
            // SAFETY: the index is below COUNT by the enum's definition.
            unsafe { self.raise(cell as usize, amount) };
        }
    }

    /// Raises the cell with a code that was not known at compile time.
    #[inline(always)]
    pub(crate) fn add_code(self, code: u32, amount: u64) {
        // The compiler knows the code to be a cell's and would leave the comparison out; the verifier does not.
        let index = black_box(code) as usize;
        if index < Cell::COUNT {
            // SAFETY: the index is below COUNT.
            unsafe { self.raise(index, amount) };
        }
    }

    /// # Safety
    /// `index` must be below `Cell::COUNT`.
    #[inline(always)]
    unsafe fn raise(self, index: usize, amount: u64) {
        if !self.row.is_null() {
            // SAFETY: a live map value, aligned to eight, and see above.
            unsafe { raise((&raw mut (*self.row).cells).cast::<u64>().add(index), amount) };
        }
    }
}

/// The slot of `key`, a free one if it has none yet; [`NO_SLOT`] when there is no free one either.
#[inline(always)]
fn slot_of(free: &Stack<u32>, key: &ListenerKey) -> u32 {
    /// Where another CPU gave the key a slot meanwhile, that one stays.
    const BPF_NOEXIST: u64 = 1;
    let known = known_slot(key);
    if known != NO_SLOT {
        return known;
    }
    let Ok(Some(fresh)) = free.pop() else { return NO_SLOT };
    if SLOTS.insert(key, fresh, BPF_NOEXIST).is_err() {
        // A stack that gave an element has room for it.
        let _room = free.push(fresh, 0);
        return known_slot(key);
    }
    if let Some(owner) = ACCOUNTS.get_ptr_mut(fresh) {
        // SAFETY: a live map value, written by the one program that took the slot.
        unsafe {
            (*owner).key = *key;
            (&raw mut (*owner).used).write_volatile(1);
        }
    }
    fresh
}

/// Whether a listener's socket owns a slot.
#[inline(always)]
pub(crate) fn owns(slot: u32, sock: u64) -> bool {
    ACCOUNTS.get(slot).is_some_and(|owner| owner.key.sock == sock)
}

/// Which owner of a slot this is.
#[inline(always)]
pub(crate) fn generation(_slot: u32) -> u32 {
    0
}

/// Forgets whose slot `key` has, so that what is charged from now on goes to another. To be called for a listener that is
/// not yet one: nobody charges it at this moment.
#[inline(always)]
pub(crate) fn forget(key: &ListenerKey) {
    let _was_there = SLOTS.remove(key);
}

#[inline(always)]
fn known_slot(key: &ListenerKey) -> u32 {
    // SAFETY: an entry is removed only where nobody looks it up (`forget`).
    unsafe { SLOTS.get(key) }.copied().unwrap_or(NO_SLOT)
}

/// Adds without losing a concurrent addition: a softirq may run on top of a program that runs in process context.
///
/// # Safety
/// `cell` must point into a live map value and be aligned to eight.
#[inline(always)]
pub(crate) unsafe fn raise(cell: *mut u64, amount: u64) {
    // The intrinsic, because core's AtomicU64 offers no addition for this target; it becomes one BPF_XADD.
    // SAFETY: see above; every writer of this cell is atomic.
    unsafe { atomic_xadd::<u64, u64, { AtomicOrdering::Relaxed }>(cell, amount) };
}
