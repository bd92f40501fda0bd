//! Words of memory that others write at any time: volatile reads and atomic additions.

use core::intrinsics::{AtomicOrdering, atomic_xadd};

/// Reads a value about which the compiler must assume nothing.
#[inline(always)]
pub(crate) fn volatile<T: Copy>(field: &T) -> T {
    // SAFETY: a reference is readable.
    unsafe { core::ptr::read_volatile(field) }
}

/// Adds to a word atomically.
/// A softirq may run on top of a program that runs in process context, and its addition must not be lost.
///
/// # Safety
/// `cell` must point into a live map value and be aligned to eight.
#[inline(always)]
pub(crate) unsafe fn raise(cell: *mut u64, amount: u64) {
    // The intrinsic, because core's AtomicU64 offers no addition for this target; it becomes one BPF_XADD.
    // SAFETY: see above; every writer of this cell is atomic.
    unsafe { atomic_xadd::<u64, u64, { AtomicOrdering::Relaxed }>(cell, amount) };
}
