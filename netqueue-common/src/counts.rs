//! The exact counts of one account.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::Cell;

/// One CPU's exact counts of one [`ListenerKey`](crate::ListenerKey), indexed by [`Cell`]. They only grow.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct Counts {
    /// The cells, in the order of [`Cell::ALL`].
    pub cells: [u64; Cell::COUNT],
}

impl Counts {
    /// Nothing counted yet.
    pub const ZERO: Self = Self { cells: [0; Cell::COUNT] };
}

#[cfg(feature = "user")]
// SAFETY: repr(C), integers only, no padding (IntoBytes proves it), any bytes are a value (FromBytes proves it).
unsafe impl aya::Pod for Counts {}
