//! What the kernel side says about itself: what it saw, sent, and could not do.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Index into [`Tallies`]. Every hop that can lose something has its own.
#[repr(u32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tally {
    /// Events that arose. It equals the submitted, the suppressed and the lost ones together.
    EventsSeen,
    /// Events put into the ring buffer.
    EventsSubmitted,
    /// Events not sent because their account's allowance was used up.
    EventsSuppressed,
    /// Events lost because the ring buffer was full.
    EventsRingFull,
    /// Charges that found no slot at all: missing from every sum.
    ChargesLost,
    /// Handshakes put into the ledger.
    LedgerEntered,
    /// Handshakes taken out of it again. What was entered and not taken out is held, or was pushed out by newer ones.
    LedgerStruck,
    /// A kernel structure could not be read; what it would have told is missing.
    Unreadable,
    /// A function returned without its entry having been seen, or after calls before it that were not seen, so that what is its
    /// own is not known; its charge, if any, is missing.
    EntryMissed,
    /// A function was entered while an earlier call had not been seen returning; that one's charge, if any, is missing.
    ReturnMissed,
    /// A return did not match the entry on record; neither was charged.
    WrongFrame,
    /// A connection in an accept queue was forgotten for want of room: when it is accepted, nobody will know where.
    QueuedForgotten,
    /// Network namespaces made under an inode number that is beyond what generations are kept of: they are not told from
    /// others that have the number before or after them.
    NamespacesUntold,
    /// Network namespaces that ended without their last counts being told: the ring buffer for them was full, or there are
    /// more CPUs than are summed up.
    FarewellsLost,
    /// listen() calls that were not told: the ring buffer for them was full. Their listeners' arguments are not known.
    ListensLost,
    /// Looks at a namespace's counters on a CPU for which no baseline could be kept: what one call cannot have moved alone is
    /// charged to nobody.
    BaselinesFull,
    /// Looks that found counters moved by more than any hooked function moves: code without a hook did, and what cannot be
    /// told from it is charged to nobody.
    MovedElsewhere,
    /// Calls whose return address another tracer had replaced (kretprobe, fprobe, function_graph): what only the caller tells
    /// is not known.
    CallerHidden,
}

impl Tally {
    /// How many tallies there are.
    pub const COUNT: usize = Self::CallerHidden as usize + 1;

    /// Every tally, in index order.
    pub const ALL: [Self; Self::COUNT] = [
        Self::EventsSeen,
        Self::EventsSubmitted,
        Self::EventsSuppressed,
        Self::EventsRingFull,
        Self::ChargesLost,
        Self::LedgerEntered,
        Self::LedgerStruck,
        Self::Unreadable,
        Self::EntryMissed,
        Self::ReturnMissed,
        Self::WrongFrame,
        Self::QueuedForgotten,
        Self::NamespacesUntold,
        Self::FarewellsLost,
        Self::ListensLost,
        Self::BaselinesFull,
        Self::MovedElsewhere,
        Self::CallerHidden,
    ];
}

/// One CPU's tallies, indexed by [`Tally`]. They only grow.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct Tallies {
    /// The tallies, in the order of [`Tally::ALL`].
    pub cells: [u64; Tally::COUNT],
    /// Zero; rounds the size up to whole cache lines.
    pub reserved: [u64; Tallies::WORDS - Tally::COUNT],
}

impl Tallies {
    /// Size in words of eight bytes.
    pub const WORDS: usize = Tally::COUNT.next_multiple_of(8);
}

#[cfg(feature = "user")]
// SAFETY: repr(C), integers only, no padding (IntoBytes proves it), any bytes are a value (FromBytes proves it).
unsafe impl aya::Pod for Tallies {}
