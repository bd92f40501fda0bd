//! Generations of the inode numbers of namespaces, and final counters of namespaces that ended.
//!
//! Generations are looked up where something is charged, never on the path of a healthy connection.

use aya_ebpf::{
    macros::map,
    maps::{Array, RingBuf},
};
use netqueue_common::{GenerationRow, NetnsFinalRecord, Tally};

use crate::{
    kernel::Fault,
    layout::layout,
    maps::tally,
    mib::{self, MOST_CPUS},
    net::Net,
};

const BPF_F_MMAPABLE: u32 = 1 << 10;

/// Generations of inode numbers. The loader sets the size.
#[map(name = "nq_netns_gens")]
static NETNS_GENERATIONS: Array<GenerationRow> = Array::with_max_entries(1, BPF_F_MMAPABLE);

/// Final counters of namespaces that ended. The loader sets the size.
#[map(name = "nq_netns_final")]
static NETNS_FINALS: RingBuf = RingBuf::with_byte_size(1 << 12, 0);

/// Returns the generation of an inode number; 0 also for a number beyond those that are kept.
#[inline(always)]
pub(crate) fn generation(inode: u32) -> u32 {
    match cell(inode) {
        // SAFETY: a live map value, aligned to four; volatile, because other CPUs write it.
        Some(cell) => unsafe { cell.read_volatile() },
        None => 0,
    }
}

/// Notes that a network namespace is being made under this inode number.
/// If the number was never given out since attach, its generation becomes 1, because no namespace that
/// existed at attach had it.
#[inline(always)]
pub(crate) fn begun(inode: u32) {
    match cell(inode) {
        // SAFETY: as above; nobody else has the number while this namespace is made.
        Some(cell) => unsafe {
            if cell.read_volatile() == 0 {
                cell.write_volatile(1);
            }
        },
        None => tally(Tally::NetnsUntracked),
    }
}

/// Notes that the inode number is about to be given back: the next namespace with it is another one.
#[inline(always)]
pub(crate) fn freed(inode: u32) {
    if let Some(cell) = cell(inode) {
        // SAFETY: as above; whoever frees the number is the only one that has it.
        unsafe { cell.write_volatile(cell.read_volatile().wrapping_add(1)) };
    }
}

/// Reports the final counters of a namespace, in which nothing will count any more.
#[inline(always)]
pub(crate) fn ended(net: Net) -> Result<(), Fault> {
    let (netns, counters) = (net.id()?, mib::last_totals(net)?);
    let room = if layout!(cpus) <= MOST_CPUS { NETNS_FINALS.reserve::<NetnsFinalRecord>(0) } else { None };
    let Some(mut record) = room else {
        tally(Tally::NetnsFinalsLost);
        return Ok(());
    };
    record.write(NetnsFinalRecord { netns, counters });
    record.submit(0);
    Ok(())
}

#[inline(always)]
fn cell(inode: u32) -> Option<*mut u32> {
    let (element, place) = GenerationRow::position(inode)?;
    let lives = NETNS_GENERATIONS.get_ptr_mut(element)?;
    // SAFETY: a live map value; the place is below GenerationRow::COUNT.
    Some(unsafe { (&raw mut (*lives).generations).cast::<u32>().add(place as usize) })
}
