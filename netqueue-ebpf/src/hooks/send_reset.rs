//! net/ipv4/tcp_ipv4.c `tcp_v4_send_reset(sk, skb[, reason])` and its IPv6 twin: perhaps a reset.
//!
//! A call need not send one: a reset is never answered, nor is a packet to a foreign destination, a signature
//! must fit, and IPv6 needs a route, which exists if there is a connection. For IPv4, and for connections,
//! the packet shows whether it will be answered: such a call is charged at its entry, and whatever comes on
//! top of it or preempts it changes nothing. The rest is charged at the return if OutRsts has moved. `sk` may
//! be NULL, a listener, a time-wait socket or a connection.
//!
//! The functions may run in process context (a socket's backlog), where a softirq's call comes on top, or
//! another task's, also while a program of the outer call runs. The kernel skips a program on top of itself,
//! and a kprobe on top of any other or of a preempted map operation: a program that sees the arguments does
//! what a skipped one before it would have done. A call may have two entry programs and two return programs.

use core::hint::black_box;

use aya_ebpf::programs::{FExitContext, RetProbeContext};
use netqueue_common::{CounterId, KernelLayout, ListenerKey, NO_REASON, Tally};

use super::{
    call::{Entry, Return as _, entry, leaving},
    trampoline::Function,
};
use crate::{
    caller::Caller,
    dropped_ack,
    emit::{EventFields, rate_limit, send},
    inflight::CpuState,
    layout::layout,
    maps::{CounterHandle, state},
    mib_values::MibPtr,
    net::Net,
    packet::{self, Packet},
    peer::Peer,
    read::{Fault, monotonic_now},
    reset_flows,
    resets::{self, Returned},
    slots,
    sock::{Queues, Sock, tcp_state},
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
fn probed_v4(call: &impl Entry) -> Result<(), Fault> {
    enter(call, true)
}

#[inline(always)]
fn probed_v6(call: &impl Entry) -> Result<(), Fault> {
    enter(call, false)
}

#[inline(always)]
fn traced_v4(call: &impl Entry) -> Result<(), Fault> {
    enter_traced(call, true)
}

#[inline(always)]
fn traced_v6(call: &impl Entry) -> Result<(), Fault> {
    enter_traced(call, false)
}

/// Does at the entry what a kprobe, which the kernel runs before, has not done.
#[inline(always)]
fn enter_traced(call: &impl Entry, ipv4: bool) -> Result<(), Fault> {
    if resets::is_open_for(call.arg(1))? { Ok(()) } else { enter(call, ipv4) }
}

#[inline(always)]
fn enter(call: &impl Entry, ipv4: bool) -> Result<(), Fault> {
    let (state, frame) = (state(), call.frame());
    let (sk, skb) = (call.arg(0), call.arg(1));
    if Packet(skb).is_reset()? {
        return Ok(());
    }
    let cells = MibPtr::tcp(state, net_of(sk, skb)?)?;
    let mark = verdict(state, call, sk, skb, u64::from(ipv4));
    if is_answered(sk, skb, ipv4)? {
        resets::open(frame, [sk, skb], cells, 0, resets::CHARGED)?;
        return account_for(state, sk, skb, mark);
    }
    resets::open(frame, [sk, skb], cells, cells.resets()?, mark)
}

/// Returns whether this packet, which is no reset, is certainly answered with one.
#[inline(always)]
fn is_answered(sk: u64, skb: u64, ipv4: bool) -> Result<bool, Fault> {
    let there_is_a_route = if sk == 0 {
        ipv4 && Packet(skb).is_for_this_host()?
    } else {
        ipv4 || Sock(sk).state() != tcp_state::LISTEN
    };
    Ok(there_is_a_route && is_plain(skb) != 0)
}

/// Returns 1 if the packet's options are plain ([`Packet::is_plain`]), else 0.
/// Not inlined: functions that are called one after the other share the program's stack of 512 bytes.
#[inline(never)]
fn is_plain(skb: u64) -> u64 {
    u64::from(Packet(skb).is_plain().unwrap_or(false))
}

#[inline(always)]
fn reason(call: &impl Entry) -> u32 {
    if layout!(reset_reason_arg) == KernelLayout::ABSENT {
        NO_REASON
    } else {
        black_box(call.number(2)) as u32
    }
}

#[inline(always)]
fn net_of(sk: u64, skb: u64) -> Result<Net, Fault> {
    if sk == 0 { Packet(skb).net() } else { Sock(sk).net() }
}

/// Returns the packed [`Verdict`] on a call.
/// Not inlined: functions that are called one after the other share the program's stack of 512 bytes.
#[inline(never)]
fn verdict(state: &mut CpuState, call: &impl Entry, sk: u64, skb: u64, ipv4: u64) -> u64 {
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

/// Does the rest of a call at its return, which a kretprobe may see alone or after fexit.
#[inline(always)]
fn leave(call: &RetProbeContext) -> Result<(), Fault> {
    let state = state();
    match resets::close(call.frame()) {
        Some(returned) if is_due(&returned)? => account_for(state, returned.sk, returned.skb, returned.mark),
        Some(_) | None => Ok(()),
    }
}

#[inline(always)]
fn leave_v4(call: &FExitContext) -> Result<(), Fault> {
    leave_traced(call, true)
}

#[inline(always)]
fn leave_v6(call: &FExitContext) -> Result<(), Fault> {
    leave_traced(call, false)
}

#[inline(always)]
fn leave_traced(call: &FExitContext, ipv4: bool) -> Result<(), Fault> {
    let state = state();
    let (sk, skb, mark);
    skb = Entry::arg(call, 1);
    if let Some(returned) = resets::close_for(skb)? {
        if !is_due(&returned)? {
            return Ok(());
        }
        (sk, mark) = (returned.sk, returned.mark);
    } else {
        // The entry had nothing to keep, or was skipped. Without a counter from the entry, a packet that may be
        // answered counts as answered.
        sk = Entry::arg(call, 0);
        if Packet(skb).is_reset()? || (sk == 0 && ipv4 && !Packet(skb).is_for_this_host()?) {
            return Ok(());
        }
        mark = verdict(state, call, sk, skb, u64::from(ipv4));
    }
    // Called at one place: verifiers follow the function once for each call.
    account_for(state, sk, skb, mark)
}

/// Returns whether a call on record sent a reset that is not charged yet.
/// OutRsts may have moved for another call that came in between, and a call that returned on another CPU moved
/// a counter there: both count as sent, because an unanswered packet is the exception.
#[inline(always)]
fn is_due(returned: &Returned) -> Result<bool, Fault> {
    if returned.mark == resets::CHARGED {
        return Ok(false);
    }
    Ok(!returned.stayed || returned.cells.resets()? != returned.before)
}

/// Charges one reset, because a call sends no more, and reports it if the account may send an event.
/// Two functions do this, because functions that are called one after the other share the program's stack of
/// 512 bytes.
#[inline(always)]
fn account_for(state: &mut CpuState, sk: u64, skb: u64, mark: u64) -> Result<(), Fault> {
    let mark = closing(skb, mark);
    let mark = following(sk, skb, mark);
    match charge(state, sk, skb, mark) {
        NOTHING_TO_SAY => Ok(()),
        charged => say(state, sk, skb, mark, charged),
    }
}

/// Returns the mark of a reset whose connection was reset a moment before, or else `mark`.
/// Remembers the connection. A refused SYN is no connection, and a handshake whose final ACK was dropped has
/// a cause of its own ([`charge`]).
#[inline(never)]
fn following(sk: u64, skb: u64, mark: u64) -> u64 {
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

/// Returns whether the cell counts packets, other than SYNs, of connections that this side does not know.
#[inline(always)]
const fn is_of_no_connection(cell: u32) -> bool {
    cell == CounterId::ResetUnknownConnection as u32 || cell == CounterId::ResetNoConnection as u32
}

/// Bit of a mark: the peer closes with this packet.
const CLOSING: u64 = 1 << 32;

/// Returns the mark of a reset, changed if it answers a peer that was closing too.
/// Whether that counts for a connection which this side does not know is decided later ([`following`]): a
/// handshake whose final ACK was dropped has a cause of its own, whatever its client sends.
#[inline(never)]
fn closing(skb: u64, mark: u64) -> u64 {
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

/// Result of [`charge`] if no event may be sent.
const NOTHING_TO_SAY: u64 = u64::MAX;

/// Charges a reset; returns the slot, in the upper half, and the cell, or [`NOTHING_TO_SAY`].
#[inline(never)]
fn charge(state: &mut CpuState, sk: u64, skb: u64, mark: u64) -> u64 {
    let Ok(mut key) = account_key(sk, skb, mark) else {
        tally(Tally::Unreadable);
        return NOTHING_TO_SAY;
    };
    let mut code = (mark & 0xff) as u32;
    let account = CounterHandle::open(&mut key);
    if code == CounterId::ResetUnknownConnection as u32
        && let Ok(Some(suspect)) = dropped_ack::recall(&mut state.flow, Sock(sk), skb)
    {
        code = CounterId::ResetExpiredHandshake as u32;
        // Listeners answer in softirqs: nothing comes in between.
        state.expired_after = monotonic_now().wrapping_sub(suspect.since);
        dropped_ack::expired(suspect, account);
    }
    account.add(CounterId::OutRsts, 1);
    account.add_code(code, 1);
    if rate_limit(account) == 0 { NOTHING_TO_SAY } else { u64::from(account.slot) << 32 | u64::from(code) }
}

/// Sends the event of a reset that was charged.
#[inline(never)]
fn say(state: &mut CpuState, sk: u64, skb: u64, mark: u64, charged: u64) -> Result<(), Fault> {
    let (slot, code) = ((charged >> 32) as u32, charged as u32);
    let mut key = local_key(sk, skb, is_listening(mark))?;
    let local_port = key.port;
    if !is_listening(mark) {
        key = net_of(sk, skb)?.without_ephemeral_port(key)?;
    }
    if slots::is_folded(slot) {
        key = ListenerKey::other(key.netns);
    }
    let now = monotonic_now();
    let age = if code == CounterId::ResetExpiredHandshake as u32 { state.expired_after } else { 0 };
    let queues = if is_listening(mark) { Sock(sk).queues() } else { Queues::UNKNOWN };
    let peer = Packet(skb).source().unwrap_or(Peer::UNKNOWN);
    let reason = match (mark >> Verdict::REASON_BITS) as u32 & 0xffff {
        0xffff => NO_REASON,
        reason => reason,
    };
    send(
        state,
        &key,
        &EventFields { code, account: CounterHandle::at(slot), local_port, peer, queues, reason, age },
        now,
    );
    Ok(())
}

/// Returns whether the socket is a listener, as the verdict contains it.
#[inline(always)]
fn is_listening(mark: u64) -> bool {
    mark & 0x100 != 0
}

/// Returns the listener's account, or that of the address that the packet was sent to.
#[inline(always)]
fn account_key(sk: u64, skb: u64, mark: u64) -> Result<ListenerKey, Fault> {
    let listening = is_listening(mark);
    let key = local_key(sk, skb, listening)?;
    if listening { Ok(key) } else { net_of(sk, skb)?.without_ephemeral_port(key) }
}

#[inline(always)]
fn local_key(sk: u64, skb: u64, listening: bool) -> Result<ListenerKey, Fault> {
    if listening { Sock(sk).listener_key() } else { Packet(skb).destination_key(net_of(sk, skb)?) }
}

entry!(probed_v4, traced_v4; nq_tcp_v4_send_reset, nq_tcp_v4_send_reset_fentry);
leaving!(leave, leave_v4; nq_tcp_v4_send_reset_return, nq_tcp_v4_send_reset_fexit);
entry!(probed_v6, traced_v6; nq_tcp_v6_send_reset, nq_tcp_v6_send_reset_fentry);
leaving!(leave, leave_v6; nq_tcp_v6_send_reset_return, nq_tcp_v6_send_reset_fexit);
