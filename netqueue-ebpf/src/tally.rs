//! Self-accounting of the kernel side: mishaps and events, counted by CPU.

use aya_ebpf::{macros::map, maps::Array};
use netqueue_common::{Tallies, Tally};

use crate::{cpu::this_cpu, words::raise};

/// Flag of a map that user space may map into its memory.
pub(crate) const BPF_F_MMAPABLE: u32 = 1 << 10;

/// Self-accounting of the kernel side, by CPU.
#[map(name = "nq_tallies")]
static TALLIES: Array<Tallies> = Array::with_max_entries(1, BPF_F_MMAPABLE);

/// Adds one to a tally of this CPU.
#[inline(always)]
pub(crate) fn tally(which: Tally) {
    if let Some(row) = TALLIES.get_ptr_mut(this_cpu()) {
        // SAFETY: a live map value, aligned to eight; the index is below COUNT by the enum's definition.
        unsafe { raise((&raw mut (*row).cells).cast::<u64>().add(which as usize), 1) };
    }
}
