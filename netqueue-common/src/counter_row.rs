//! The exact counts of one account.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::CounterId;

/// One row of the exact counts of one [`ListenerKey`](crate::ListenerKey), indexed by [`CounterId`].
/// The row belongs to one CPU, or to several that share it. Counts only grow while the slot has one owner.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct CounterRow {
    /// The cells, in the order of [`CounterId::ALL`].
    pub cells: [u64; CounterId::COUNT],
    /// Time until which the events sent so far are paid for, in nanoseconds of CLOCK_MONOTONIC.
    /// Each event moves the time on by its cost, the inverse of the allowed rate. Only the kernel side uses
    /// it.
    pub paid_until: u64,
    /// Zero; rounds the size up to whole cache lines, so that no two CPUs write to one.
    pub reserved: [u64; CounterRow::WORDS - CounterId::COUNT - 1],
}

impl CounterRow {
    /// Size in words of eight bytes.
    pub const WORDS: usize = (CounterId::COUNT + 1).next_multiple_of(8);
}

#[cfg(feature = "user")]
// SAFETY: repr(C), integers only, no padding (proven by IntoBytes), any bytes are a value (by FromBytes).
unsafe impl aya::Pod for CounterRow {}
