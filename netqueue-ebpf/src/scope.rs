//! Open calls: what an entry program noted for the return program of the same call.
//!
//! One slot per function family and CPU suffices where bottom halves are off: such a call is neither preempted nor
//! nested in another of its kind. A call is known by the address of its stack frame, so that a return whose entry was
//! missed cannot be mistaken for another's. A slot is overwritten at the next entry and never accumulates.

use netqueue_common::{Flow, KernelLayout, Tally};

use crate::{
    embryonic::Owed,
    kernel::spread,
    layout::layout,
    maps::tally,
    mib::{Cells, Counted},
    packet::{Packet, Peer},
};

/// An address on the stack that belongs to one call.
#[derive(Clone, Copy)]
pub(crate) struct Frame {
    at: u64,
    /// How far entry and return may be apart.
    slack: u64,
}

impl Frame {
    const NONE: u64 = 0;

    /// Of a call whose two ends see the same address.
    #[inline(always)]
    pub(crate) fn exactly(at: u64) -> Self {
        Self { at, slack: 0 }
    }

    /// The stack pointer: a return program sees it after the return address was popped, and a trampoline's words on it.
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

/// One open call, with `N` counter cells as they were at its entry.
#[repr(C)]
pub(crate) struct Scope<const N: usize> {
    frame: u64,
    /// The call this one is nested in, both for the same packet: IPv4 on a dual-stack listener. Where the outer one
    /// jumped to the inner, both have one stack address, and return one after the other.
    outer: u64,
    /// The listener, or the socket a reset is for (0 where there is none).
    pub(crate) sk: u64,
    pub(crate) skb: u64,
    /// Where the cells are.
    pub(crate) cells: u64,
    pub(crate) before: [u64; N],
    /// What inner calls leave for this one's return; the family says what it means.
    pub(crate) mark: u64,
}

impl<const N: usize> Scope<N> {
    /// No call.
    pub(crate) const NONE: Self =
        Self { frame: Frame::NONE, outer: Frame::NONE, sk: 0, skb: 0, cells: 0, before: [0; N], mark: 0 };

    #[inline(always)]
    pub(crate) fn is_open(&self) -> bool {
        self.frame != Frame::NONE
    }

    /// Opens the slot for a call. A call still open is the outer one of the same packet, or its return was missed.
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

    /// Whether this return closes the call on record. If it does, the slot stands for the outer call again, if any.
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

    /// Whether this return belongs to the call on record.
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

/// A packet, known again by its numbers: the memory it was in is soon another's.
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct Overflowed {
    skb: u64,
    /// Its sequence and acknowledgment numbers, where the kernel gives no reason for its resets.
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

    /// Whether it is this packet.
    #[inline(always)]
    pub(crate) fn is(&self, packet: Packet) -> bool {
        self.skb == packet.0
            && (layout!(reason_invalid_syn) != KernelLayout::ABSENT
                || packet.numbers().unwrap_or(0) == self.numbers)
    }
}

/// A connection that was never accepted, and the listener that is closed.
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct Forgotten {
    pub(crate) listener: u64,
    /// 0 where there is none.
    pub(crate) child: u64,
}

/// What was known of a listener. It stands as long as its slot is that listener's, which it ceases to be when the listener
/// is closed, or opened again (slots.rs `holds`).
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct Guess {
    /// The listener; 0 where nothing is known.
    pub(crate) sock: u64,
    /// How many claims to slots had ended when this stood.
    pub(crate) ended: u64,
    /// What a [`QueuedSet`](netqueue_common::QueuedSet) says of the listener.
    pub(crate) whose: u64,
    /// Where this CPU's cells of its namespace are.
    pub(crate) cells: u64,
    /// The socket's own `sk_drops` before this CPU last looked at the cells on its account, or [`Self::NOT_LOOKED`].
    pub(crate) drops: u64,
    /// This CPU's row of the listener's traffic.
    pub(crate) row: u32,
    /// The listener's slot.
    pub(crate) slot: u32,
}

impl Guess {
    /// No number of drops: those have 32 bits.
    pub(crate) const NOT_LOOKED: u64 = u64::MAX;

    /// How many are kept.
    pub(crate) const COUNT: usize = 1 << Self::BITS;
    const BITS: u32 = 6;

    /// Where a listener's is: below [`Self::COUNT`].
    #[inline(always)]
    pub(crate) fn place(sk: u64) -> usize {
        spread::<{ Self::BITS }>(sk)
    }
}

/// What was marked within a SYN's call.
#[derive(Clone, Copy)]
pub(crate) struct Marks {
    /// The last-quarter rule refused the peer.
    pub(crate) unproven: bool,
    pub(crate) cookie_made: bool,
}

/// What this CPU has open. In cache lines of its own: those of other CPUs lie beside it.
#[repr(C, align(128))]
pub(crate) struct CpuState {
    /// Listeners seen lately, by a hash of their address; to be checked before use. First, for their place to be their address.
    pub(crate) guesses: [Guess; Guess::COUNT],
    /// This CPU's entry of `__per_cpu_offset`; 0 until read.
    pub(crate) cpu_offset: u64,
    /// When this CPU last woke the reader, CLOCK_MONOTONIC nanoseconds.
    pub(crate) last_wake: u64,
    /// What a call has moved. By way of memory the verifier forgets how that was found out, and follows what comes after once.
    pub(crate) moved: Counted,
    /// `tcp_v4_conn_request` and its kin, as kprobes: ListenDrops.
    pub(crate) syn: Scope<1>,
    /// Within such a call, the last-quarter rule refused the peer.
    pub(crate) unproven: u64,
    /// Within such a call, a cookie was made.
    pub(crate) cookie_made: u64,
    /// `tcp_v4_syn_recv_sock` and `tcp_v6_syn_recv_sock`, as kprobes. Mark: it is a cookie's ACK, not a request's.
    pub(crate) ack: Scope<0>,
    /// `smc_tcp_syn_recv_sock`, with the same mark.
    pub(crate) smc: Scope<0>,
    /// The packet whose final ACK last found an accept queue full.
    pub(crate) overflowed: Overflowed,
    /// The listener for which a handshake was last answered with a reset, until its request is dropped.
    pub(crate) answered: u64,
    /// `inet_csk_reqsk_queue_drop`, as kprobes: the socket is the listener, the packet the request. Mark: the
    /// [`Caller`](crate::kernel::Caller).
    pub(crate) queue_drop: Scope<0>,
    /// What the last of these may be charged with later.
    pub(crate) owed: Owed,
    /// `tcp_get_syncookie_mss`, as kprobes: the socket is the listener.
    pub(crate) helper: Scope<0>,
    /// `tcp_rtx_synack`: the socket is the listener, the packet the request.
    pub(crate) synack: Scope<0>,
    /// For a moment, with bottom halves off: see hooks/call.rs.
    pub(crate) place: u64,
    /// `cookie_v4_check` and `cookie_v6_check`: SyncookiesRecv, SyncookiesFailed.
    pub(crate) cookie: Scope<2>,
    /// `reqsk_timer_handler`: the socket is the listener, the packet the request. Mark: its final ACK was dropped.
    pub(crate) timer: Scope<0>,
    /// That request's connection.
    pub(crate) timer_flow: Flow,
    /// `tcp_req_err`: ListenDrops. The socket is the listener, the packet the request.
    pub(crate) icmp: Scope<1>,
    /// Who that request was from.
    pub(crate) icmp_peer: Peer,
    /// How long before its reset the final ACK of an expired handshake was dropped, for the event of that reset.
    pub(crate) expired_after: u64,
    /// Room to name a connection in: a program's stack is 512 bytes.
    pub(crate) flow: Flow,
    /// `inet_child_forget`: the connection that is about to be reset because its listener closes.
    pub(crate) forgotten: Forgotten,
    /// Resets charged on this CPU so far, by a hash of where their namespace's cells are. It only grows, and is raised by what
    /// may run on top of anything else here.
    pub(crate) resets: [u64; 1 << Self::RESETS_BITS],
}

impl CpuState {
    const RESETS_BITS: u32 = 4;

    /// Resets charged on this CPU so far in the namespace with these cells, and perhaps in others.
    #[inline(always)]
    pub(crate) fn resets_of(&mut self, cells: Cells) -> *mut u64 {
        &raw mut self.resets[spread::<{ Self::RESETS_BITS }>(cells.0)]
    }

    /// Ends what was marked within a call of `tcp_v4_conn_request` or its kin, where two calls of one packet are one.
    #[inline(always)]
    pub(crate) fn take_marks(&mut self) -> Marks {
        let marks = Marks { unproven: self.unproven != 0, cookie_made: self.cookie_made != 0 };
        (self.unproven, self.cookie_made) = (0, 0);
        marks
    }
}
