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
    kernel::{Fault, read},
    layout::layout,
    maps::tally,
    mib::{Cells, Counted},
    net::Net,
};

/// Baselines, by where the cells are, which is a namespace's place on one CPU. Where nobody has looked they were zero: a namespace
/// begins so, and what had counted before attach is noted then ([`note_some`]). The loader sets the size.
#[map(name = "nq_mib_baseline")]
static LOOKED: HashMap<u64, Counted> = HashMap::with_max_entries(1, 0);

/// What is known of a call before the counters are read.
#[derive(Clone, Copy)]
pub(crate) struct Call {
    /// ListenDrops at its entry, where that was noted.
    pub(crate) drops_before: Option<u64>,
    /// Whether it made a cookie. Where it did not, SyncookiesSent has not moved either, and is not read.
    pub(crate) cookie_made: bool,
    /// Whether it handles a packet for a listener, which it may drop. The BPF cookie helper does not: it counts an overflow and
    /// drops nothing.
    pub(crate) may_drop: bool,
}

impl Call {
    /// A packet was handled; nothing was noted at the entry.
    pub(crate) const PACKET: Self = Self { drops_before: None, cookie_made: false, may_drop: true };
    /// The BPF cookie helper was asked.
    pub(crate) const HELPER: Self = Self { may_drop: false, ..Self::PACKET };
}

/// Returns what the call that just returned added to the counters, by way of a place that nothing else uses: one call drops one
/// packet or sends one cookie.
///
/// Where more moved since the last look, calls before this one went unseen, or code without a hook counted: then what is not known
/// to be this call's is charged to nobody, and counted.
#[inline(always)]
pub(crate) fn moved(place: &mut Counted, cells: Cells, call: Call) -> Result<Counted, Fault> {
    let moved = since_last_look(cells, call)?;
    let place: *mut Counted = place;
    // SAFETY: a place can be written and read.
    unsafe {
        place.write_volatile(moved);
        Ok(place.read_volatile())
    }
}

#[inline(always)]
fn since_last_look(cells: Cells, call: Call) -> Result<Counted, Fault> {
    // One path for both: what a read that failed would have told must not be carried on, which older verifiers refuse.
    let looked = LOOKED.get_ptr_mut(cells.0).unwrap_or_default();
    // SAFETY: a live map value, which only this CPU writes, with bottom halves off. When its namespace ends the map may give its
    // memory to another's, but then nobody is left to look.
    let before = if looked.is_null() { Counted::NOTHING } else { unsafe { looked.read() } };
    let sent = if call.cookie_made || looked.is_null() { cells.cookies_sent()? } else { before.sent };
    let now = cells.counted_but_sent(sent)?;
    let room = if looked.is_null() {
        LOOKED.insert(cells.0, now, 0).is_ok()
    } else {
        // SAFETY: as above.
        unsafe { looked.write(now) };
        true
    };
    let (drops_now, all) = (now.drops, now.since(&before));
    // What calls within this one dropped they have charged.
    let drops = match call.drops_before {
        Some(before) => drops_now.wrapping_sub(before).min(all.drops),
        None => all.drops,
    };
    // Each drop is for one reason: a counter that moved further was moved by somebody else.
    let explained = all.overflows.saturating_add(all.full) <= if call.may_drop { all.drops } else { 1 };
    let one = drops == all.drops && drops <= u64::from(call.may_drop) && all.sent <= 1 && all.do_cookies <= 1;
    if one && explained {
        if !room {
            tally(Tally::BaselinesFull);
        }
        return Ok(all);
    }
    tally(if !room {
        Tally::BaselinesFull
    } else if explained {
        Tally::EntryMissed
    } else {
        Tally::MovedElsewhere
    });
    if drops != 1 || !call.may_drop {
        return Ok(Counted::NOTHING);
    }
    // Of several drops one is this call's; for which reason is known where all of them had the same.
    let all_are = |part: u64| u64::from(explained && part == all.drops);
    Ok(Counted { overflows: all_are(all.overflows), drops, full: all_are(all.full), ..Counted::NOTHING })
}

/// Where [`note_some`] goes on in the kernel's list of namespaces; 0: at its beginning.
#[map(name = "nq_seed_cursor")]
static NOTING: Array<u64> = Array::with_max_entries(1, 0);

/// Notes what a CPU's counters are in some namespaces more; [`kept::BUSY`]: there are others. To be called once all programs are
/// attached: what was counted before is nobody's. On the CPU itself nothing comes in between, and what looks noted while only some
/// programs were attached is replaced (`again`); elsewhere, for a CPU that is offline, who has looked knows better.
#[inline(always)]
pub(crate) fn note_some(cpu: u32, again: bool) -> Result<u32, Fault> {
    /// The verifier follows each turn of the loop.
    const MOST: u32 = 32;
    const BPF_ANY: u64 = 0;
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
            let _was_there = LOOKED.insert(cells.0, now, if again { BPF_ANY } else { BPF_NOEXIST });
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
