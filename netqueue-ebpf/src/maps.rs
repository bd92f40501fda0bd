//! The maps, and the few ways they are written.

use core::intrinsics::{AtomicOrdering, atomic_xadd};

use aya_ebpf::{
    macros::map,
    maps::{PerCpuArray, PerCpuHashMap, RingBuf},
};
use netqueue_common::{Cell, Counts, ListenerKey, Tally};

use crate::scope::CpuState;

/// Exact counts of listeners. The loader sets the size.
#[map]
static LISTENERS: PerCpuHashMap<ListenerKey, Counts> = PerCpuHashMap::with_max_entries(1024, 0);

/// Exact counts of local endpoints that sent resets without a listener. The loader sets the size.
#[map]
static ENDPOINTS: PerCpuHashMap<ListenerKey, Counts> = PerCpuHashMap::with_max_entries(1024, 0);

/// What found no room in the maps above, by network namespace.
#[map]
static OTHERS: PerCpuHashMap<ListenerKey, Counts> = PerCpuHashMap::with_max_entries(128, 0);

/// What the kernel side says about itself.
#[map]
static TALLIES: PerCpuArray<u64> = PerCpuArray::with_max_entries(Tally::COUNT as u32, 0);

/// Drops and resets as they happen. The loader sets the size.
#[map]
pub(crate) static EVENTS: RingBuf = RingBuf::with_byte_size(1 << 20, 0);

/// This CPU's open scopes.
#[map]
static STATE: PerCpuArray<CpuState> = PerCpuArray::with_max_entries(1, 0);

/// This CPU's state.
#[inline(always)]
pub(crate) fn state() -> Option<&'static mut CpuState> {
    let pointer = STATE.get_ptr_mut(0)?;
    // SAFETY: the map's value lives as long as the program, belongs to this CPU, and its programs are not preempted
    // while they run; scopes of process context are kept apart (scope.rs).
    Some(unsafe { &mut *pointer })
}

/// Counts one of the kernel side's own mishaps.
#[inline(always)]
pub(crate) fn tally(which: Tally) {
    if let Some(cell) = TALLIES.get_ptr_mut(which as u32) {
        // SAFETY: a live map value, aligned to eight.
        unsafe { raise(cell, 1) };
    }
}

/// One account's counts on this CPU.
#[derive(Clone, Copy)]
pub(crate) struct Account(*mut Counts);

impl Account {
    /// The account of `key`: its own, else its namespace's `other` bucket, else none; each step down is counted.
    #[inline(always)]
    pub(crate) fn open(key: &ListenerKey) -> Option<Self> {
        let own = if key.sock == 0 { open_in(&ENDPOINTS, key) } else { open_in(&LISTENERS, key) };
        if let Some(account) = own {
            return Some(account);
        }
        let folded = open_in(&OTHERS, &ListenerKey::other(key.netns));
        tally(if folded.is_some() { Tally::ChargesFolded } else { Tally::ChargesLost });
        folded
    }

    /// Raises one cell.
    #[inline(always)]
    pub(crate) fn add(self, cell: Cell, amount: u64) {
        if amount != 0 {
            // SAFETY: a live map value; the index is below COUNT by the enum's definition.
            unsafe { raise((&raw mut (*self.0).cells).cast::<u64>().add(cell as usize), amount) };
        }
    }
}

#[inline(always)]
fn open_in(map: &PerCpuHashMap<ListenerKey, Counts>, key: &ListenerKey) -> Option<Account> {
    if let Some(pointer) = map.get_ptr_mut(key) {
        return Some(Account(pointer));
    }
    // BPF_NOEXIST: where another CPU made the entry meanwhile, its counts stay.
    const BPF_NOEXIST: u64 = 1;
    let _full_or_raced = map.insert(key, Counts::ZERO, BPF_NOEXIST);
    map.get_ptr_mut(key).map(Account)
}

/// Adds without losing a concurrent addition: a softirq may run on top of a program that runs in process context.
///
/// # Safety
/// `cell` must point into a live map value and be aligned to eight.
#[inline(always)]
unsafe fn raise(cell: *mut u64, amount: u64) {
    // The intrinsic, because core's AtomicU64 offers no addition for this target; it becomes one BPF_XADD.
    // SAFETY: see above; every writer of this cell is atomic.
    unsafe { atomic_xadd::<u64, u64, { AtomicOrdering::Relaxed }>(cell, amount) };
}
