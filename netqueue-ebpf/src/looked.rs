//! What the counters of listeners were when somebody last looked, and so what a call moved them by.
//!
//! Whatever moves them is followed by a look on the same CPU, before anything else there can move them: what moved since the
//! last look belongs to who looks next. Nothing here runs for a connection that goes well.

use aya_ebpf::{
    macros::map,
    maps::{Array, HashMap},
};
use netqueue_common::{Tally, kept};

use crate::{
    kernel::{Fault, Net, read},
    layout::layout,
    maps::tally,
    mib::{Cells, Counted},
};

/// By where the cells are, which is a namespace's place on one CPU. Where nobody has looked they were zero: a namespace begins
/// so, and what had counted before attach is noted then ([`note_some`]).
#[map]
static LOOKED: HashMap<u64, Counted> = HashMap::with_max_entries(8192, 0);

/// Looks on behalf of a call that has returned, and tells what it moved, by way of a place that nothing else uses: one call
/// drops one packet or sends one cookie. `drops_before` is what ListenDrops was at its entry, where that was noted; whether it
/// made a cookie is known: where it did not, SyncookiesSent has not moved either, and is not read.
///
/// Where calls before it went unseen, not all that moved is its own: what is not known to be is not charged, and counted.
#[inline(always)]
pub(crate) fn moved(
    place: &mut Counted,
    cells: Cells,
    drops_before: Option<u64>,
    cookie_made: bool,
) -> Result<Counted, Fault> {
    let moved = since_last_look(cells, drops_before, cookie_made)?;
    let place: *mut Counted = place;
    // SAFETY: a place can be written and read.
    unsafe {
        place.write_volatile(moved);
        Ok(place.read_volatile())
    }
}

#[inline(always)]
fn since_last_look(cells: Cells, drops_before: Option<u64>, cookie_made: bool) -> Result<Counted, Fault> {
    let (drops_now, all) = match LOOKED.get_ptr_mut(cells.0) {
        Some(looked) => {
            // SAFETY: a live map value, which only this CPU writes, with bottom halves off. When its namespace ends the map may
            // give its memory to another's, but then nobody is left to look.
            unsafe {
                let before = looked.read();
                let now = if cookie_made { cells.counted()? } else { cells.counted_but_sent(before.sent)? };
                looked.write(now);
                (now.drops, now.since(&before))
            }
        }
        None => {
            let now = cells.counted()?;
            if LOOKED.insert(cells.0, now, 0).is_err() {
                tally(Tally::EntryMissed);
                return Ok(Counted::NOTHING);
            }
            (now.drops, now)
        }
    };
    // What calls within this one dropped they have charged.
    let drops = match drops_before {
        Some(before) => drops_now.wrapping_sub(before).min(all.drops),
        None => all.drops,
    };
    if drops == all.drops && drops <= 1 && all.sent <= 1 {
        return Ok(all);
    }
    tally(Tally::EntryMissed);
    // Of several drops of one kind this call's is one; of several kinds it is not known which.
    let certain = |part: u64| part == 0 || part == all.drops;
    if drops == 1 && certain(all.overflows) && certain(all.full) {
        let (overflows, full) = (all.overflows.min(1), all.full.min(1));
        return Ok(Counted { overflows, drops, full, ..Counted::NOTHING });
    }
    Ok(Counted::NOTHING)
}

/// Where [`note_some`] goes on in the kernel's list of namespaces; 0: at its beginning.
#[map]
static NOTING: Array<u64> = Array::with_max_entries(1, 0);

/// Notes what a CPU's counters are in some namespaces more; [`kept::BUSY`]: there are others. To be called once the programs
/// are attached: what was counted before is nobody's.
#[inline(always)]
pub(crate) fn note_some(cpu: u32) -> Result<u32, Fault> {
    /// The verifier follows each turn of the loop.
    const MOST: u32 = 32;
    /// Who has looked already knows better.
    const BPF_NOEXIST: u64 = 1;
    let list = layout!(net_namespace_list);
    let offset: u64 = read(layout!(per_cpu_offset), cpu * 8)?;
    let cursor = NOTING.get_ptr_mut(0).ok_or(Fault)?;
    // SAFETY: a live map value; one at a time asks for this.
    let mut node = match unsafe { cursor.replace(0) } {
        0 => read(list, 0)?,
        node => node,
    };
    let mut walked = 0;
    while node != list && walked < MOST {
        let net = Net(node.wrapping_sub(u64::from(layout!(net_list))));
        let block: u64 = read(net.0, layout!(net_statistics))?;
        let cells = Cells(block.wrapping_add(offset));
        let now = cells.counted()?;
        if !now.is_nothing() {
            let _was_there = LOOKED.insert(cells.0, now, BPF_NOEXIST);
        }
        node = read(node, 0)?;
        walked += 1;
    }
    if node == list {
        return Ok(kept::DONE);
    }
    // SAFETY: as above.
    unsafe { cursor.write(node) };
    Ok(kept::BUSY)
}

/// Forgets what the counters were that are here: their namespace ends, and its memory may be another's.
#[inline(always)]
pub(crate) fn forget(cells: Cells) {
    let _was_there = LOOKED.remove(cells.0);
}
