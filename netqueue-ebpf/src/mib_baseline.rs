//! Last-seen MIB counters per namespace and CPU.
//! The difference between them and the current values is what one call added.
//!
//! Every call that moves the counters is followed by a reading on the same CPU, before anything else there
//! can move them: what moved since the last reading belongs to the call that reads next. Nothing here runs
//! for a connection that goes well.

use aya_ebpf::{
    macros::map,
    maps::{Array, HashMap},
};
use netqueue_common::{Tally, control_status};

use crate::{
    layout::layout,
    mib_values::{MibPtr, MibValues},
    net::Net,
    read::{Fault, read},
    tally::tally,
};

/// Baselines by the address of the counters, which identifies a namespace on one CPU.
/// Counters without a baseline were zero: a namespace begins so, and what was counted before attach is noted
/// then ([`seed_baselines`]). The loader sets the size.
#[map(name = "nq_mib_baseline")]
static MIB_BASELINES: HashMap<u64, MibValues> = HashMap::with_max_entries(1, 0);

/// Facts about a call that are known before the counters are read.
#[derive(Clone, Copy)]
pub(crate) struct Call {
    /// ListenDrops at the call's entry, if that was noted.
    pub(crate) drops_before: Option<u64>,
    /// True if the call made a cookie.
    /// Otherwise SyncookiesSent has not moved either, and is not read.
    pub(crate) cookie_made: bool,
    /// True if the call handles a packet for a listener, which it may drop.
    /// The BPF cookie helper handles none: it counts an overflow and drops nothing.
    pub(crate) may_drop: bool,
}

impl Call {
    /// A call that handled a packet; nothing was noted at its entry.
    pub(crate) const PACKET: Self = Self { drops_before: None, cookie_made: false, may_drop: true };
    /// A call of the BPF cookie helper.
    pub(crate) const HELPER: Self = Self { may_drop: false, ..Self::PACKET };
}

/// Returns what the call that just returned added to the counters.
/// One call drops one packet or sends one cookie. The result passes through `scratch`, which nothing else uses,
/// so that the verifier forgets how it was computed.
///
/// If more moved since the last reading, calls before this one went unseen, or code without a hook counted:
/// then what is not certainly this call's is charged to nobody, and the case is counted.
#[inline(always)]
pub(crate) fn delta(scratch: &mut MibValues, cells: MibPtr, call: Call) -> Result<MibValues, Fault> {
    let delta = since_baseline(cells, call)?;
    let scratch: *mut MibValues = scratch;
    // SAFETY: a reference is readable and writable.
    unsafe {
        scratch.write_volatile(delta);
        Ok(scratch.read_volatile())
    }
}

#[inline(always)]
fn since_baseline(cells: MibPtr, call: Call) -> Result<MibValues, Fault> {
    // One path for both cases: the result of a read that failed must not be carried on, which older verifiers
    // refuse.
    let looked = MIB_BASELINES.get_ptr_mut(cells.0).unwrap_or_default();
    // SAFETY: a live map value, which only this CPU writes, with bottom halves off. When its namespace ends
    // the map may give its memory to another's, but then nobody is left to read it.
    let before = if looked.is_null() { MibValues::NOTHING } else { unsafe { looked.read() } };
    let sent = if call.cookie_made || looked.is_null() { cells.cookies_sent()? } else { before.sent };
    let now = cells.values_but_sent(sent)?;
    let room = if looked.is_null() {
        MIB_BASELINES.insert(cells.0, now, 0).is_ok()
    } else {
        // SAFETY: as above.
        unsafe { looked.write(now) };
        true
    };
    let (drops_now, all) = (now.drops, now.since(&before));
    // Calls within this one have charged what they dropped.
    let drops = match call.drops_before {
        Some(before) => drops_now.wrapping_sub(before).min(all.drops),
        None => all.drops,
    };
    // Each drop has one reason: a counter that moved further was moved by other code.
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
        return Ok(MibValues::NOTHING);
    }
    // One of several drops is this call's; its reason is known if all of them had the same.
    let all_are = |part: u64| u64::from(explained && part == all.drops);
    Ok(MibValues { overflows: all_are(all.overflows), drops, full: all_are(all.full), ..MibValues::NOTHING })
}

/// Place in the kernel's list of namespaces at which [`seed_baselines`] goes on; 0 is its beginning.
#[map(name = "nq_seed_cursor")]
static SEED_CURSOR: Array<u64> = Array::with_max_entries(1, 0);

/// Notes a CPU's counters in some more namespaces; returns [`control_status::BUSY`] if others remain.
/// To be called once all programs are attached: what was counted before is charged to nobody. On the CPU
/// itself nothing comes in between, and a baseline from the time when only some programs were attached is
/// replaced (`again`). From another CPU, on behalf of one that is offline, existing baselines take
/// precedence.
#[inline(always)]
pub(crate) fn seed_baselines(cpu: u32, again: bool) -> Result<u32, Fault> {
    /// Namespaces per run: the verifier follows each turn of the loop.
    const MOST: u32 = 32;
    const BPF_ANY: u64 = 0;
    const BPF_NOEXIST: u64 = 1;
    let list = layout!(net_namespace_list);
    let offset: u64 = read(layout!(per_cpu_offset), cpu * 8)?;
    let cursor = SEED_CURSOR.get_ptr_mut(0).ok_or(Fault)?;
    // SAFETY: a live map value; the daemon runs one program at a time that uses it.
    let mut node = match unsafe { cursor.replace(0) } {
        0 => read(list, 0)?,
        node => node,
    };
    let mut walked = 0;
    while node != list && walked < MOST {
        let net = Net(node.wrapping_sub(u64::from(layout!(net_list))));
        let block: u64 = read(net.0, layout!(net_statistics))?;
        let cells = MibPtr(block.wrapping_add(offset));
        let now = cells.counted()?;
        if !now.is_nothing() {
            let _was_there = MIB_BASELINES.insert(cells.0, now, if again { BPF_ANY } else { BPF_NOEXIST });
        }
        node = read(node, 0)?;
        walked += 1;
    }
    if node == list {
        return Ok(control_status::DONE);
    }
    // SAFETY: as above.
    unsafe { cursor.write(node) };
    Ok(control_status::BUSY)
}

/// Forgets the baseline of these counters: their namespace ends, and its memory may be reused.
#[inline(always)]
pub(crate) fn forget(cells: MibPtr) {
    let _was_there = MIB_BASELINES.remove(cells.0);
}
