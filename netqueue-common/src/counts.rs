//! The exact counts of one account.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::Cell;

/// One row of the exact counts of one [`ListenerKey`](crate::ListenerKey), indexed by [`Cell`]: one CPU's, or that of
/// several CPUs. They only grow while the slot has one owner.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct Counts {
    /// The cells, in the order of [`Cell::ALL`].
    pub cells: [u64; Cell::COUNT],
    /// The kernel side's own: when the events sent so far are paid for at the allowed rate, in nanoseconds of
    /// CLOCK_MONOTONIC.
    pub paid_until: u64,
    /// Zero; rounds the size up to whole cache lines, so that no two CPUs write to one.
    pub reserved: [u64; Counts::WORDS - Cell::COUNT - 1],
}

impl Counts {
    /// Size in words of eight bytes.
    pub const WORDS: usize = (Cell::COUNT + 1).next_multiple_of(8);
}

#[cfg(feature = "user")]
// SAFETY: repr(C), integers only, no padding (IntoBytes proves it), any bytes are a value (FromBytes proves it).
unsafe impl aya::Pod for Counts {}
