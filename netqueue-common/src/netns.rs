//! Identity of a network namespace: its inode number and its generation.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::CounterId;

/// A network namespace.
/// The kernel gives the inode number of a dead one to the next at once; the generation distinguishes them.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct Namespace {
    /// Inode number, as in /proc/PID/ns/net.
    pub inode: u32,
    /// Generation of the inode number ([`GenerationRow`]); 0 if it existed when netqueue attached.
    pub generation: u32,
}

impl Namespace {
    /// First inode number that the kernel gives out at run time (fs/proc/generic.c, PROC_DYNAMIC_FIRST).
    /// Namespaces of all types and entries of /proc take the lowest free number. Whatever has a lower number
    /// than this lives as long as the kernel.
    pub const FIRST_INODE: u32 = 0xf000_0000;
}

/// Generations of consecutive inode numbers, from [`Namespace::FIRST_INODE`] on.
/// The generation of a number counts how often the number was freed since netqueue attached, plus one if it
/// was given out for the first time since then.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct GenerationRow {
    /// One generation for each number.
    pub generations: [u32; GenerationRow::COUNT],
}

impl GenerationRow {
    /// Number of inode numbers in one element.
    pub const COUNT: usize = 16;

    /// Returns the element with a number's generation, and the generation's index in it.
    /// `None` for a number that is never given out.
    #[must_use]
    pub const fn position(inode: u32) -> Option<(u32, u32)> {
        match inode.checked_sub(Namespace::FIRST_INODE) {
            Some(index) => Some((index / Self::COUNT as u32, index % Self::COUNT as u32)),
            None => None,
        }
    }
}

/// Final counters of a network namespace that ended: one record of a ring buffer of its own.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct NetnsFinalRecord {
    /// The namespace that ended.
    pub netns: Namespace,
    /// Counters of the namespace, summed over all CPUs, in the order of [`NetnsFinalRecord::COUNTERS`].
    pub counters: [u64; NetnsFinalRecord::COUNTERS.len()],
}

impl NetnsFinalRecord {
    /// Counts that are charged with the increments of these counters.
    pub const COUNTERS: [CounterId; 9] = [
        CounterId::ListenOverflows,
        CounterId::ListenDrops,
        CounterId::ReqQFullDrop,
        CounterId::ReqQFullDoCookies,
        CounterId::SyncookiesSent,
        CounterId::SyncookiesReceived,
        CounterId::SyncookiesFailed,
        CounterId::EmbryonicRsts,
        CounterId::OutRsts,
    ];
}
