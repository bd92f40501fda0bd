//! In whose accept queue a connection waits: a table addressed by its socket, entered when the connection is made, left when it is
//! accepted or forgotten.
//!
//! What the table has no room for is counted. Two CPUs may choose one place at once: then one of the two connections is
//! forgotten, which nobody sees and the sums can.

use core::hint::cold_path;

use netqueue_common::{QueuedSet, Tally};

use crate::{
    kernel::{lower_half, spread},
    maps::tally,
};

/// Room for 65,536 connections. No map by name: of this the address is known when a program is loaded, and nothing is looked up.
static mut QUEUED: [QueuedSet; 1 << SETS_BITS] = [QueuedSet { socks: [0; 4], whose: [0; 4] }; 1 << SETS_BITS];
const SETS_BITS: u32 = 14;

/// What a connection was paired with, and what was found by it meanwhile: `row`.
pub(crate) struct Pair<R> {
    pub(crate) row: R,
    /// The number of the listener's first row.
    pub(crate) first_row: u32,
    /// Its slot's generation.
    pub(crate) generation: u32,
}

/// The set that a connection is in, if any.
#[inline(always)]
fn set_of(child: u64) -> *mut QueuedSet {
    let index = spread::<SETS_BITS>(child);
    // SAFETY: below the array's size.
    unsafe { (&raw mut QUEUED).cast::<QueuedSet>().add(index) }
}

/// Pairs a connection with its listener.
#[inline(always)]
pub(crate) fn remember(child: u64, whose: u64) {
    let set = set_of(child);
    // SAFETY: a live element, which has a first place.
    unsafe {
        let first = (&raw const (*set).socks[0]).read_volatile();
        if first == 0 || first == child {
            (&raw mut (*set).whose[0]).write_volatile(whose);
            (&raw mut (*set).socks[0]).write_volatile(child);
            return;
        }
    }
    cold_path();
    remember_elsewhere(child, whose);
}

/// The same where the first place of its set is another's.
#[inline(never)]
fn remember_elsewhere(child: u64, whose: u64) {
    let set = set_of(child);
    let mut place = 1;
    // SAFETY: a live element, indices below the arrays' sizes.
    unsafe {
        while place < 4 && !matches!((*set).socks[place], sock if sock == 0 || sock == child) {
            place += 1;
        }
        if place == 4 {
            place = (lower_half(child) >> 12 & 3) as usize;
            tally(Tally::QueuedForgotten);
        }
        (&raw mut (*set).whose[place]).write_volatile(whose);
        (&raw mut (*set).socks[place]).write_volatile(child);
    }
}

/// The pair of a connection that is in the first place of its set, once; `row` finds what belongs to a listener's first row.
#[inline(always)]
pub(crate) fn take_first<R>(child: u64, row: impl FnOnce(u32) -> R) -> Option<Pair<R>> {
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

/// The same wherever it is. Not to be asked of 0, for which any free place would do.
#[inline(always)]
pub(crate) fn take<R>(child: u64, row: impl Fn(u32) -> R) -> Option<Pair<R>> {
    let set = set_of(child);
    for place in 0..4 {
        // SAFETY: a live element, an index below the arrays' sizes.
        unsafe {
            if (&raw const (*set).socks[place]).read_volatile() == child {
                return Some(take_from(set, place, row));
            }
        }
    }
    None
}

/// Where the lower half of a word lies, and where the upper.
const HALVES: [usize; 2] = if cfg!(target_endian = "little") { [0, 1] } else { [1, 0] };

/// The pair at this place.
///
/// # Safety
/// The set must be one of the table, the place below 4.
#[inline(always)]
unsafe fn take_from<R>(set: *mut QueuedSet, place: usize, row: impl FnOnce(u32) -> R) -> Pair<R> {
    // SAFETY: the caller says so.
    unsafe {
        let [first_row, generation] =
            HALVES.map(|half| (&raw const (*set).whose).cast::<u32>().add(2 * place + half));
        let first_row = first_row.read_volatile();
        // In between: what is read later need not be kept while another is found.
        let row = row(first_row);
        let generation = generation.read_volatile();
        (&raw mut (*set).socks).cast::<u64>().add(place).write_volatile(0);
        Pair { row, first_row, generation }
    }
}
