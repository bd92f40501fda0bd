//! Calls of `tcp_v4_send_reset` and its IPv6 twin between entry and return, by task.
//!
//! The functions may run in process context (a socket's backlog), where a preemptible kernel lets another
//! task's call come in between, and may move a task to another CPU. So a task identifies a call, together
//! with the packet or the stack address: a softirq's call on top of the task's own takes the second place.

use aya_ebpf::{helpers::bpf_get_current_task, macros::map, maps::LruHashMap};

use crate::{
    cpu::this_cpu,
    inflight::{Frame, Inflight},
    mib_values::MibPtr,
    packet::Packet,
    read::Fault,
};

/// Calls under way.
/// An entry that a skipped return left behind is the first to be evicted.
#[map(name = "nq_open_resets")]
static OPEN_RESETS: LruHashMap<u64, Calls> = LruHashMap::with_max_entries(4096, 0);

/// An open call; `before` is OutRsts at its entry, on the CPU of the entry.
pub(crate) type Open = Inflight<1>;

#[repr(C)]
struct Calls {
    open: [Open; 2],
    /// CPU of the entry of each call.
    cpus: [u64; 2],
    /// Sequence and acknowledgment numbers of each call's packet, because other packets reuse its memory.
    numbers: [u64; 2],
}

/// A record without calls, not on a program's stack, which is small.
static NONE: Calls = Calls { open: [Inflight::NONE; 2], cpus: [0; 2], numbers: [0; 2] };

/// Mark of a call that was charged at its entry: its return has nothing to do.
pub(crate) const CHARGED: u64 = 1 << 63;

/// Keeps a call until its return.
///
/// If there is no room, nothing of the call may be charged at its entry: its return would charge it again.
#[inline(always)]
pub(crate) fn open(
    frame: Frame,
    [sk, skb]: [u64; 2],
    cells: MibPtr,
    before: u64,
    mark: u64,
) -> Result<(), Fault> {
    let numbers = Packet(skb).numbers()?;
    // SAFETY: a helper without arguments.
    let task = unsafe { bpf_get_current_task() };
    if OPEN_RESETS.get_ptr_mut(task).is_none() {
        OPEN_RESETS.insert(task, &NONE, 0).map_err(|_| Fault)?;
    }
    let calls = OPEN_RESETS.get_ptr_mut(task).ok_or(Fault)?;
    // SAFETY: a live map value. Should the map give it to another task meanwhile, it stays memory for calls.
    let calls = unsafe { &mut *calls };
    // A packet is answered once: an open call for the same packet was left behind.
    let nested = calls.open[0].is_open() && !calls.open[0].holds(frame) && calls.open[0].skb != skb;
    let index = usize::from(nested) & 1;
    let open = &mut calls.open[index];
    open.forget();
    open.open(frame, sk, skb, cells.0, [before]);
    open.mark = mark;
    calls.cpus[index] = u64::from(this_cpu());
    calls.numbers[index] = numbers;
    Ok(())
}

/// A call that has returned.
#[derive(Clone, Copy)]
pub(crate) struct Returned {
    pub(crate) sk: u64,
    pub(crate) skb: u64,
    pub(crate) cells: MibPtr,
    pub(crate) before: u64,
    pub(crate) mark: u64,
    /// True if the call returned on the CPU on which it was entered.
    pub(crate) stayed: bool,
}

/// Returns whether this task's call that answers this packet is on record.
#[inline(always)]
pub(crate) fn is_open_for(skb: u64) -> Result<bool, Fault> {
    let numbers = Packet(skb).numbers()?;
    Ok(calls().is_some_and(|calls| calls.index_for(skb, numbers).is_some()))
}

/// Takes the call that returns here off the record.
/// `None` if its entry was not seen, or had nothing to keep.
#[inline(always)]
pub(crate) fn close(frame: Frame) -> Option<Returned> {
    let calls = calls()?;
    let index = calls.index(|index| calls.open[index].holds(frame))?;
    Some(calls.take(index))
}

/// Takes the call that answers this packet off the record.
/// Works whether the entry program is a kprobe or fentry. A record that a skipped return left behind is
/// another packet's, even at the same address.
#[inline(always)]
pub(crate) fn close_for(skb: u64) -> Result<Option<Returned>, Fault> {
    let numbers = Packet(skb).numbers()?;
    let Some(calls) = calls() else { return Ok(None) };
    Ok(calls.index_for(skb, numbers).map(|index| calls.take(index)))
}

/// Returns the calls of the current task, if it ever had one on record.
#[inline(always)]
fn calls() -> Option<&'static mut Calls> {
    // SAFETY: a helper without arguments.
    let task = unsafe { bpf_get_current_task() };
    let calls = OPEN_RESETS.get_ptr_mut(task)?;
    // SAFETY: as in `open`.
    Some(unsafe { &mut *calls })
}

impl Calls {
    #[inline(always)]
    fn index(&self, is_it: impl Fn(usize) -> bool) -> Option<usize> {
        if is_it(0) {
            Some(0)
        } else if is_it(1) {
            Some(1)
        } else {
            None
        }
    }

    #[inline(always)]
    fn index_for(&self, skb: u64, numbers: u64) -> Option<usize> {
        self.index(|index| {
            self.open[index].is_open() && self.open[index].skb == skb && self.numbers[index] == numbers
        })
    }

    #[inline(always)]
    fn take(&mut self, index: usize) -> Returned {
        let index = index & 1;
        let Inflight { sk, skb, cells, before: [before], mark, .. } = self.open[index];
        let stayed = self.cpus[index] == u64::from(this_cpu());
        self.open[index].forget();
        Returned { sk, skb, cells: MibPtr(cells), before, mark, stayed }
    }
}
