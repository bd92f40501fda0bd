//! Map from a queued child socket to its listener's slot, from establishment to accept() or close.
//!
//! The socket's address selects the place in a table. A connection for which the table has no room is
//! counted. Two CPUs may choose one place at once: then one of the two connections is forgotten, which is not
//! counted but shows in the sums.

use core::hint::cold_path;

use netqueue_common::{PendingSet, Tally};

use crate::{
    read::{lower_half, spread},
    tally::tally,
};

/// Table with room for 65,536 connections.
/// A global, not a map: its address is known when a program is loaded, so that nothing has to be looked up.
static mut QUEUED: [PendingSet; 1 << SETS_BITS] =
    [PendingSet { socks: [0; 4], owners: [0; 4] }; 1 << SETS_BITS];
const SETS_BITS: u32 = 14;

/// The listener that a connection was paired with, and `row`, which the caller found for it.
pub(crate) struct Pending<R> {
    pub(crate) row: R,
    /// The number of the listener's first row.
    pub(crate) first_row: u32,
    /// Generation of the listener's slot.
    pub(crate) generation: u32,
}

/// Returns the set of the table that may contain a connection.
#[inline(always)]
fn set_of(child: u64) -> *mut PendingSet {
    let index = spread::<SETS_BITS>(child);
    // SAFETY: below the array's size.
    unsafe { (&raw mut QUEUED).cast::<PendingSet>().add(index) }
}

/// Pairs a connection with its listener.
#[inline(always)]
pub(crate) fn remember(child: u64, owner: u64) {
    let set = set_of(child);
    // SAFETY: a live element, which has a first place.
    unsafe {
        let first = (&raw const (*set).socks[0]).read_volatile();
        if first == 0 || first == child {
            (&raw mut (*set).owners[0]).write_volatile(owner);
            (&raw mut (*set).socks[0]).write_volatile(child);
            return;
        }
    }
    cold_path();
    remember_elsewhere(child, owner);
}

/// Pairs a connection with its listener if another connection has the first place of the set.
#[inline(never)]
fn remember_elsewhere(child: u64, owner: u64) {
    let set = set_of(child);
    let mut index = 1;
    // SAFETY: a live element, indices below the arrays' sizes.
    unsafe {
        while index < 4 && !matches!((*set).socks[index], sock if sock == 0 || sock == child) {
            index += 1;
        }
        if index == 4 {
            index = (lower_half(child) >> 12 & 3) as usize;
            tally(Tally::QueuedForgotten);
        }
        (&raw mut (*set).owners[index]).write_volatile(owner);
        (&raw mut (*set).socks[index]).write_volatile(child);
    }
}

/// Takes the pair of a connection that is in the first place of its set.
/// `row` finds what belongs to a listener's first row.
#[inline(always)]
pub(crate) fn take_first<R>(child: u64, row: impl FnOnce(u32) -> R) -> Option<Pending<R>> {
    let set = set_of(child);
    // SAFETY: a live element, which has a first place.
    unsafe {
        if (&raw const (*set).socks[0]).read_volatile() == child {
            Some(take_from(set, 0, row))
        } else {
            None
        }
    }
}

/// Takes the pair of a connection from any place of its set.
/// Not to be called with 0, for which any free place would match.
#[inline(always)]
pub(crate) fn take<R>(child: u64, row: impl Fn(u32) -> R) -> Option<Pending<R>> {
    let set = set_of(child);
    for index in 0..4 {
        // SAFETY: a live element, an index below the arrays' sizes.
        unsafe {
            if (&raw const (*set).socks[index]).read_volatile() == child {
                return Some(take_from(set, index, row));
            }
        }
    }
    None
}

/// Indices of the lower and of the upper half of a word.
const HALVES: [usize; 2] = if cfg!(target_endian = "little") { [0, 1] } else { [1, 0] };

/// Takes the pair at this place.
///
/// # Safety
/// The set must be one of the table, the place below 4.
#[inline(always)]
unsafe fn take_from<R>(set: *mut PendingSet, index: usize, row: impl FnOnce(u32) -> R) -> Pending<R> {
    // SAFETY: as the caller guarantees.
    unsafe {
        let [first_row, generation] =
            HALVES.map(|half| (&raw const (*set).owners).cast::<u32>().add(2 * index + half));
        let first_row = first_row.read_volatile();
        // Between the two reads: a value that is read later occupies no register while another is found.
        let row = row(first_row);
        let generation = generation.read_volatile();
        (&raw mut (*set).socks).cast::<u64>().add(index).write_volatile(0);
        Pending { row, first_row, generation }
    }
}
