//! Self-accounting of the kernel side: what it saw, sent, and could not do.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Index into [`Tallies`]. Every step that can lose something has a tally of its own.
#[repr(u32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tally {
    /// Events that arose: the sum of the submitted, the suppressed and the lost ones.
    EventsSeen,
    /// Events put into the ring buffer.
    EventsSubmitted,
    /// Events not sent because their account's allowance was used up.
    EventsSuppressed,
    /// Events lost because the ring buffer was full.
    EventsRingFull,
    /// Charges that found no slot at all and are missing from every sum.
    ChargesLost,
    /// Handshakes put into the cache of dropped final ACKs.
    DroppedAcksEntered,
    /// Handshakes taken out of the cache of dropped final ACKs again.
    /// A handshake that was entered and not taken out is still there, or a newer one evicted it.
    DroppedAcksStruck,
    /// Kernel structures that could not be read; whatever depended on them is missing.
    Unreadable,
    /// Returns of a function whose entry, or calls before it, were not seen.
    /// The share of this call in the counters is not known; its charge, if any, is missing.
    EntryMissed,
    /// Entries while an earlier call had not been seen to return; that call's charge, if any, is missing.
    ReturnMissed,
    /// Returns that did not match the entry on record; neither call was charged.
    WrongFrame,
    /// Connections in an accept queue that were forgotten for want of room.
    /// When such a connection is accepted, its listener is not known.
    QueuedForgotten,
    /// Network namespaces whose inode number is beyond the numbers that generations are kept for.
    /// Such a namespace is not distinguished from others that have the number before or after it.
    NetnsUntracked,
    /// Network namespaces that ended without a report of their final counters.
    /// The ring buffer for them was full, or there are more CPUs than are summed up.
    NetnsFinalsLost,
    /// listen() calls that were not reported, because the ring buffer for them was full.
    /// Their listeners' arguments are not known.
    ListensLost,
    /// Readings of a namespace's counters on a CPU for which no baseline could be kept.
    /// An increment that is too large for one call is charged to nobody.
    BaselinesFull,
    /// Readings that found counters moved by more than any hooked function moves them.
    /// Code without a hook moved them, and what cannot be distinguished from its share is charged to nobody.
    MovedElsewhere,
    /// Calls whose return address another tracer had replaced (kretprobe, fprobe, function_graph).
    /// A cause that only the caller reveals stays unknown.
    CallerHidden,
}

impl Tally {
    /// Number of tallies.
    pub const COUNT: usize = Self::CallerHidden as usize + 1;

    /// Every tally, in index order.
    pub const ALL: [Self; Self::COUNT] = [
        Self::EventsSeen,
        Self::EventsSubmitted,
        Self::EventsSuppressed,
        Self::EventsRingFull,
        Self::ChargesLost,
        Self::DroppedAcksEntered,
        Self::DroppedAcksStruck,
        Self::Unreadable,
        Self::EntryMissed,
        Self::ReturnMissed,
        Self::WrongFrame,
        Self::QueuedForgotten,
        Self::NetnsUntracked,
        Self::NetnsFinalsLost,
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
// SAFETY: repr(C), integers only, no padding (proven by IntoBytes), any bytes are a value (by FromBytes).
unsafe impl aya::Pod for Tallies {}
