//! Generations of the inode numbers of namespaces.
//!
//! Generations are looked up where something is charged, never on the path of a healthy connection.

use aya_ebpf::{macros::map, maps::Array};
use netqueue_common::{GenerationRow, Namespace, Tally};

use crate::{
    net::Net,
    read::Fault,
    tally::{BPF_F_MMAPABLE, tally},
};

/// Generations of inode numbers. The loader sets the size.
#[map(name = "nq_netns_gens")]
static NETNS_GENERATIONS: Array<GenerationRow> = Array::with_max_entries(1, BPF_F_MMAPABLE);

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

#[inline(always)]
fn cell(inode: u32) -> Option<*mut u32> {
    let (element, place) = GenerationRow::position(inode)?;
    let lives = NETNS_GENERATIONS.get_ptr_mut(element)?;
    // SAFETY: a live map value; the place is below GenerationRow::COUNT.
    Some(unsafe { (&raw mut (*lives).generations).cast::<u32>().add(place as usize) })
}

impl Net {
    /// Returns the namespace's inode number and generation. Not for the path of a healthy connection.
    #[inline(always)]
    pub(crate) fn id(self) -> Result<Namespace, Fault> {
        let inode = self.inum()?;
        Ok(Namespace { inode, generation: generation(inode) })
    }
}
