//! Which network namespace: its inode number, and which of the namespaces that had that number one after the other.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::Cell;

/// A network namespace. The kernel gives the number of a dead one to the next at once; the generation tells them apart.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct Namespace {
    /// Inode number, as in /proc/PID/ns/net.
    pub inode: u32,
    /// 0 for one that was there when netqueue attached; see [`Lives`].
    pub generation: u32,
}

impl Namespace {
    /// The first number the kernel gives to what is made at run time: fs/proc/generic.c, PROC_DYNAMIC_FIRST. Namespaces of
    /// all types and entries of /proc take the lowest free one; what has a lower number lives as long as the kernel.
    pub const FIRST_INODE: u32 = 0xf000_0000;
}

/// The generations of some numbers that follow one another, from [`Namespace::FIRST_INODE`] on: how often each was freed
/// since netqueue attached, and one more if it was given out for the first time since then.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct Lives {
    /// One generation for each number.
    pub generations: [u32; Lives::COUNT],
}

impl Lives {
    /// Numbers in one element.
    pub const COUNT: usize = 16;

    /// The element that has a number's generation, and its place in it; `None` for a number that is never given out.
    #[must_use]
    pub const fn place(inode: u32) -> Option<(u32, u32)> {
        match inode.checked_sub(Namespace::FIRST_INODE) {
            Some(index) => Some((index / Self::COUNT as u32, index % Self::COUNT as u32)),
            None => None,
        }
    }
}

/// What a namespace had counted when it ended: one record of its own ring buffer.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct Farewell {
    /// Which one.
    pub netns: Namespace,
    /// Its counters, summed over all CPUs, in the order of [`Farewell::COUNTERS`].
    pub counters: [u64; Farewell::COUNTERS.len()],
}

impl Farewell {
    /// The cells that are charged with what these counters count.
    pub const COUNTERS: [Cell; 9] = [
        Cell::ListenOverflows,
        Cell::ListenDrops,
        Cell::ReqQFullDrop,
        Cell::ReqQFullDoCookies,
        Cell::SyncookiesSent,
        Cell::SyncookiesReceived,
        Cell::SyncookiesFailed,
        Cell::EmbryonicRsts,
        Cell::OutRsts,
    ];
}
