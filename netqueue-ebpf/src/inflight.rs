//! Open calls: notes of an entry program for the return program of the same call.
//!
//! One slot per function family and CPU suffices where bottom halves are off: such a call is neither
//! preempted nor nested in another of its kind. The address of its stack frame identifies a call, so that a
//! return whose entry was missed cannot be mistaken for another's. A slot is overwritten at the next entry;
//! slots never accumulate.

use netqueue_common::{Flow, KernelLayout, Tally};

use crate::{
    layout::layout, mib_values::MibValues, owed::Owed, packet::Packet, peer::Peer, read::spread, tally::tally,
};

/// An address on the stack that belongs to one call.
#[derive(Clone, Copy)]
pub(crate) struct Frame {
    at: u64,
    /// Largest distance between the addresses that entry and return see.
    slack: u64,
}

impl Frame {
    const NONE: u64 = 0;

    /// Returns the frame of a call whose entry and return see the same address.
    #[inline(always)]
    pub(crate) fn exactly(at: u64) -> Self {
        Self { at, slack: 0 }
    }

    /// Returns the frame of a call that is identified by the stack pointer.
    /// A return program sees it after the return address was popped, and with a trampoline's words on the
    /// stack.
    #[inline(always)]
    pub(crate) fn near(at: u64) -> Self {
        Self { at, slack: 64 }
    }

    #[inline(always)]
    fn is(self, entry: u64) -> bool {
        if self.slack == 0 {
            self.at == entry
        } else {
            self.at.wrapping_sub(entry).wrapping_add(self.slack) <= 2 * self.slack
        }
    }
}

/// One open call, with the values of `N` counters at its entry.
#[repr(C)]
pub(crate) struct Inflight<const N: usize> {
    frame: u64,
    /// Frame of the call in which this one is nested, both for the same packet.
    /// IPv4 on a dual-stack listener causes this. If the outer call jumped to the inner one, both have one
    /// stack address, and return one after the other.
    outer: u64,
    /// The listener, or the socket a reset is for (0 where there is none).
    pub(crate) sk: u64,
    pub(crate) skb: u64,
    /// Address of the counters in `before`.
    pub(crate) cells: u64,
    pub(crate) before: [u64; N],
    /// Note of the entry program for the return program; its meaning depends on the function family.
    pub(crate) mark: u64,
}

impl<const N: usize> Inflight<N> {
    /// No call.
    pub(crate) const NONE: Self =
        Self { frame: Frame::NONE, outer: Frame::NONE, sk: 0, skb: 0, cells: 0, before: [0; N], mark: 0 };

    #[inline(always)]
    pub(crate) fn is_open(&self) -> bool {
        self.frame != Frame::NONE
    }

    /// Opens the slot for a call.
    /// A call that is still open is the outer one of the same packet, or its return was missed.
    #[inline(always)]
    pub(crate) fn open(&mut self, frame: Frame, sk: u64, skb: u64, cells: u64, before: [u64; N]) {
        self.outer = Frame::NONE;
        if self.is_open() {
            if self.skb == skb && self.sk == sk {
                self.outer = self.frame;
            } else if !frame.is(self.frame) {
                tally(Tally::ReturnMissed);
            }
        }
        self.frame = frame.at;
        self.sk = sk;
        self.skb = skb;
        self.cells = cells;
        self.before = before;
        self.mark = 0;
    }

    /// Closes the call on record; returns whether this return belongs to that call.
    /// If it does, the slot then represents the outer call, if any.
    #[inline(always)]
    pub(crate) fn close(&mut self, frame: Frame) -> bool {
        if !self.is_open() {
            tally(Tally::EntryMissed);
            return false;
        }
        let same = frame.is(self.frame);
        if !same {
            tally(Tally::WrongFrame);
        }
        self.frame = if same { self.outer } else { Frame::NONE };
        self.outer = Frame::NONE;
        same
    }

    /// Returns whether this return belongs to the call on record.
    #[inline(always)]
    pub(crate) fn holds(&self, frame: Frame) -> bool {
        self.is_open() && frame.is(self.frame)
    }

    /// Forgets the call on record.
    #[inline(always)]
    pub(crate) fn forget(&mut self) {
        self.frame = Frame::NONE;
        self.outer = Frame::NONE;
    }
}

/// Identity of a packet: its address, and its TCP numbers because other packets reuse its memory.
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct Overflowed {
    skb: u64,
    /// Sequence and acknowledgment numbers if the kernel gives no reasons for its resets; else 0.
    numbers: u64,
}

impl Overflowed {
    pub(crate) const NONE: Self = Self { skb: 0, numbers: 0 };

    #[inline(always)]
    pub(crate) fn by(packet: Packet) -> Self {
        let numbers = if layout!(reason_invalid_syn) == KernelLayout::ABSENT {
            packet.numbers().unwrap_or(0)
        } else {
            0
        };
        Self { skb: packet.0, numbers }
    }

    /// Returns whether this is the identity of `packet`.
    #[inline(always)]
    pub(crate) fn is(&self, packet: Packet) -> bool {
        self.skb == packet.0
            && (layout!(reason_invalid_syn) != KernelLayout::ABSENT
                || packet.numbers().unwrap_or(0) == self.numbers)
    }
}

/// A connection that was never accepted, and its listener, which is closed.
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct Forgotten {
    pub(crate) listener: u64,
    /// Socket of the connection; 0 if there is none.
    pub(crate) child: u64,
}

/// Cached facts about a listener, valid as long as the slot is the listener's own.
/// The slot ceases to be that when the listener is closed, or opened again (slots.rs `holds`).
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct ListenerCache {
    /// Socket of the listener; 0 if the entry is empty.
    pub(crate) sock: u64,
    /// Number of claims to slots that had ended when the guess was last found valid.
    pub(crate) ended: u64,
    /// The listener as a [`PendingSet`](netqueue_common::PendingSet) names it: first row and generation.
    pub(crate) owner: u64,
    /// Address of this CPU's counters of the listener's namespace.
    pub(crate) cells: u64,
    /// The socket's `sk_drops` before this CPU last read the counters for it, or [`Self::NOT_LOOKED`].
    pub(crate) drops: u64,
    /// This CPU's row of the listener's traffic.
    pub(crate) row: u32,
    /// The listener's slot.
    pub(crate) slot: u32,
}

impl ListenerCache {
    /// Value of [`Self::drops`] that no socket has, because `sk_drops` has 32 bits.
    pub(crate) const NOT_LOOKED: u64 = u64::MAX;

    /// Number of guesses on one CPU.
    pub(crate) const COUNT: usize = 1 << Self::BITS;
    const BITS: u32 = 6;

    /// Returns the index of a listener's guess, below [`Self::COUNT`].
    #[inline(always)]
    pub(crate) fn index(sk: u64) -> usize {
        spread::<{ Self::BITS }>(sk)
    }
}

/// Marks that inner functions left within a SYN's call.
#[derive(Clone, Copy)]
pub(crate) struct Marks {
    /// True if the last-quarter rule refused the peer.
    pub(crate) unproven: bool,
    pub(crate) cookie_made: bool,
}

/// Open calls and caches of one CPU.
/// Aligned to cache lines of its own, because the states of other CPUs are next to it.
#[repr(C, align(128))]
pub(crate) struct CpuState {
    /// Recently seen listeners, by a hash of their address; to be checked before use.
    /// First member, so that the address of the array is that of the state.
    pub(crate) listener_cache: [ListenerCache; ListenerCache::COUNT],
    /// This CPU's entry of `__per_cpu_offset`; 0 until read.
    pub(crate) cpu_offset: u64,
    /// Time at which this CPU last woke the reader, in nanoseconds of CLOCK_MONOTONIC.
    pub(crate) last_wake: u64,
    /// Scratch space for the amounts that a call has added to the counters.
    /// Once they have passed through memory, the verifier forgets how they were computed, and follows the
    /// code after that only once.
    pub(crate) delta: MibValues,
    /// Calls of `tcp_v4_conn_request` and its kin, by kprobes. Counter: ListenDrops.
    pub(crate) syn: Inflight<1>,
    /// 1 if the last-quarter rule refused the peer within the call of a SYN.
    pub(crate) unproven: u64,
    /// 1 if a cookie was made within the call of a SYN.
    pub(crate) cookie_made: u64,
    /// Calls of `tcp_v4_syn_recv_sock` and `tcp_v6_syn_recv_sock`, by kprobes.
    /// Mark: the ACK is a cookie's, not a request's.
    pub(crate) ack: Inflight<0>,
    /// Calls of `smc_tcp_syn_recv_sock`, with the mark of [`Self::ack`].
    pub(crate) smc: Inflight<0>,
    /// The final ACK that was last dropped, if it found an accept queue full.
    pub(crate) overflowed: Overflowed,
    /// The listener for which a handshake was last answered with a reset, until its request is dropped.
    pub(crate) answered: u64,
    /// Calls of `inet_csk_reqsk_queue_drop`, by kprobes: `sk` is the listener, `skb` the request.
    /// Mark: the [`Caller`](crate::caller::Caller).
    pub(crate) queue_drop: Inflight<0>,
    /// Charge that is pending after a call of `inet_csk_reqsk_queue_drop` whose caller is hidden.
    pub(crate) owed: Owed,
    /// Calls of `tcp_get_syncookie_mss`, by kprobes: `sk` is the listener.
    pub(crate) helper: Inflight<0>,
    /// Calls of `tcp_rtx_synack`: `sk` is the listener, `skb` the request.
    pub(crate) synack: Inflight<0>,
    /// Scratch word, used for a moment with bottom halves off: see hooks/call.rs.
    pub(crate) scratch: u64,
    /// Calls of `cookie_v4_check` and `cookie_v6_check`. Counters: SyncookiesRecv, SyncookiesFailed.
    pub(crate) cookie: Inflight<2>,
    /// Calls of `reqsk_timer_handler`: `sk` is the listener, `skb` the request.
    /// Mark: the final ACK of the request was dropped.
    pub(crate) timer: Inflight<0>,
    /// Connection of the request in [`Self::timer`].
    pub(crate) timer_flow: Flow,
    /// Calls of `tcp_req_err`: `sk` is the listener, `skb` the request. Counter: ListenDrops.
    pub(crate) icmp: Inflight<1>,
    /// Client of the request in [`Self::icmp`].
    pub(crate) icmp_peer: Peer,
    /// Nanoseconds between the dropped final ACK of an expired handshake and its reset, for the event.
    pub(crate) expired_after: u64,
    /// Scratch space for a connection, because a program's stack is 512 bytes.
    pub(crate) flow: Flow,
    /// Connection of `inet_child_forget`, which is about to be reset because its listener closes.
    pub(crate) forgotten: Forgotten,
}

impl CpuState {
    /// Takes the marks of a call of `tcp_v4_conn_request` or its kin, and clears them.
    /// Two nested calls for one packet have one set of marks.
    #[inline(always)]
    pub(crate) fn take_marks(&mut self) -> Marks {
        let marks = Marks { unproven: self.unproven != 0, cookie_made: self.cookie_made != 0 };
        (self.unproven, self.cookie_made) = (0, 0);
        marks
    }
}
