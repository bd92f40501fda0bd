//! Why a reset function was called: the mark of a call, which its entry makes and its charge uses.

use core::hint::black_box;

use netqueue_common::{CounterId, KernelLayout, NO_REASON, Tally};

use super::{call::Entry, trampoline::Function};
use crate::{
    caller::Caller,
    dropped_ack,
    inflight::CpuState,
    layout::layout,
    packet::{self, Packet},
    read::Fault,
    reset_flows,
    sock::{Sock, tcp_state},
    tally::tally,
};

/// Findings before the call, packed into a word.
struct Verdict {
    cell: CounterId,
    reason: u32,
    /// True if the socket is a listener.
    listening: bool,
}

impl Verdict {
    const REASON_BITS: u32 = 16;

    #[inline(always)]
    fn pack(&self) -> u64 {
        u64::from(self.reason & 0xffff) << Self::REASON_BITS
            | u64::from(self.listening) << 8
            | self.cell as u64
    }
}

/// Returns the number of parameters of both functions; the reason came as the third.
#[inline(always)]
fn parameters() -> usize {
    if layout!(reset_reason_arg) == KernelLayout::ABSENT { 2 } else { 3 }
}

#[inline(always)]
fn reason(call: &impl Entry) -> u32 {
    if layout!(reset_reason_arg) == KernelLayout::ABSENT {
        NO_REASON
    } else {
        black_box(call.number(2)) as u32
    }
}

/// Returns the packed [`Verdict`] on a call.
/// Not inlined: functions that are called one after the other share the program's stack of 512 bytes.
#[inline(never)]
pub(super) fn verdict(state: &mut CpuState, call: &impl Entry, sk: u64, skb: u64, ipv4: u64) -> u64 {
    let code = if ipv4 == 0 { layout!(code_of_v6_send_reset) } else { layout!(code_of_v4_send_reset) };
    let own = Function { code, parameters: parameters() };
    let reason = reason(call);
    let socket_state = if sk == 0 { 0 } else { Sock(sk).state() };
    let listening = socket_state == tcp_state::LISTEN;
    let cell = match socket_state {
        _ if sk == 0 && Packet(skb).is_request().unwrap_or(false) => CounterId::ResetNoListener,
        _ if sk == 0 => CounterId::ResetNoConnection,
        tcp_state::LISTEN => of_listener(state, call, [sk, skb], own, reason),
        // The connection a Fast Open SYN made, before its handshake is complete.
        tcp_state::SYN_RECV => CounterId::ResetHandshakeAborted,
        tcp_state::TIME_WAIT | tcp_state::CLOSE => CounterId::ResetAfterClose,
        _ => CounterId::ResetOther,
    };
    Verdict { cell, reason, listening }.pack()
}

/// Returns why a listener answers with a reset.
/// The listener acts on behalf of a pending request (`tcp_check_req`), of a connection that joins another of
/// Multipath TCP, or of a packet that belongs to nothing it has.
///
/// From 6.10 on the kernel's reason reveals it, before that the caller; if the caller is hidden, the packet
/// may: one whose final ACK was dropped, or a SYN, comes from `tcp_check_req`, and one that is no SYN does
/// not.
#[inline(always)]
fn of_listener(
    state: &mut CpuState,
    call: &impl Entry,
    [sk, skb]: [u64; 2],
    own: Function,
    reason: u32,
) -> CounterId {
    let caller = if layout!(reason_invalid_syn) != KernelLayout::ABSENT && reason != NO_REASON {
        let of_mptcp = layout!(reason_mptcp_first) <= reason && reason <= layout!(reason_mptcp_last);
        if reason == layout!(reason_invalid_syn) || of_mptcp { Caller::Asked } else { Caller::Another }
    } else {
        // Searched once: verifiers follow each path through the search to the end of the code after it.
        let address = call.caller(own).unwrap_or(0);
        match Caller::of(address, layout!(code_of_check_req)) {
            Caller::Another => Caller::of(address, layout!(code_of_subflow_syn_recv_sock)),
            known => known,
        }
    };
    let overflowed = state.overflowed.is(Packet(skb));
    let cell = match caller {
        Caller::Another => return CounterId::ResetUnknownConnection,
        Caller::Asked if overflowed => CounterId::ResetOverflowAbort,
        Caller::Asked => CounterId::ResetHandshakeAborted,
        Caller::Hidden => {
            tally(Tally::CallerHidden);
            if overflowed {
                CounterId::ResetOverflowAbort
            } else {
                by_packet(sk, skb).unwrap_or(CounterId::ResetOther)
            }
        }
    };
    if cell as u32 == CounterId::ResetOverflowAbort as u32
        || cell as u32 == CounterId::ResetHandshakeAborted as u32
    {
        state.answered = sk;
    }
    cell
}

/// Returns the cell that the packet alone reveals, if its final ACK was not dropped.
#[inline(always)]
fn by_packet(sk: u64, skb: u64) -> Result<CounterId, Fault> {
    let flags = Packet(skb).flags()?;
    Ok(if flags & packet::SYN == 0 {
        if Sock(sk).has_upper_layer() { CounterId::ResetOther } else { CounterId::ResetUnknownConnection }
    } else if flags & packet::ACK == 0 {
        CounterId::ResetHandshakeAborted
    } else {
        CounterId::ResetOther
    })
}

/// Remembers a reset's connection; returns the mark, changed if that was reset a moment before.
/// A refused SYN is no connection, and a handshake whose final ACK was dropped has a cause of its own, which
/// is found when the reset is charged.
#[inline(never)]
pub(super) fn following(sk: u64, skb: u64, mark: u64) -> u64 {
    let cell = (mark & 0xff) as u32;
    if cell == CounterId::ResetNoListener as u32 {
        return mark;
    }
    let mut flow = reset_flows::NONE;
    let Ok(again) = reset_flows::packet(&mut flow, sk, skb) else { return mark };
    if !is_of_no_connection(cell) || !(again || mark & CLOSING != 0) || dropped_ack::awaits_reset(&flow) {
        return mark;
    }
    let cell = if again { CounterId::ResetAgain } else { CounterId::ResetPeerClosing };
    mark & !0xff | cell as u64
}

/// Returns whether the cell counts packets, other than SYNs, of connections unknown to this side.
#[inline(always)]
const fn is_of_no_connection(cell: u32) -> bool {
    cell == CounterId::ResetUnknownConnection as u32 || cell == CounterId::ResetNoConnection as u32
}

/// Bit of a mark: the peer closes with this packet.
const CLOSING: u64 = 1 << 32;

/// Returns the mark of a reset, changed if it answers a peer that was closing too.
/// For a connection unknown to this side the mark only gets a bit, which [`following`] evaluates: a handshake
/// whose final ACK was dropped has a cause of its own, whatever its client sends.
#[inline(never)]
pub(super) fn closing(skb: u64, mark: u64) -> u64 {
    let cell = (mark & 0xff) as u32;
    let after_close = cell == CounterId::ResetAfterClose as u32;
    if !(after_close || is_of_no_connection(cell)) || !Packet(skb).is_closing().unwrap_or(false) {
        mark
    } else if after_close {
        mark & !0xff | CounterId::ResetPeerClosing as u64
    } else {
        mark | CLOSING
    }
}

/// Returns the kernel's own reason, as the verdict contains it.
#[inline(always)]
pub(super) const fn kernel_reason(mark: u64) -> u32 {
    match (mark >> Verdict::REASON_BITS) as u32 & 0xffff {
        0xffff => NO_REASON,
        reason => reason,
    }
}

/// Returns whether the socket is a listener, as the verdict contains it.
#[inline(always)]
pub(super) fn is_listening(mark: u64) -> bool {
    mark & 0x100 != 0
}
