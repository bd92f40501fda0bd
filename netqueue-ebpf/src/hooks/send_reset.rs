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
//! what a skipped one before it would have done. That takes longer, so that tasks are preempted within that
//! program, too: where tasks are preempted, a call has several.

use aya_ebpf::programs::{FExitContext, RetProbeContext};
use netqueue_common::{CounterId, ListenerKey, Tally};

use super::{
    call::{Entry, Return as _, entry, leaving, traced},
    reset_mark::{closing, following, is_listening, kernel_reason, verdict},
};
use crate::{
    dropped_ack,
    emit::{EventFields, rate_limit, send},
    inflight::CpuState,
    maps::{CounterHandle, state},
    mib_values::MibPtr,
    net::Net,
    packet::Packet,
    peer::Peer,
    read::{Fault, monotonic_now},
    resets::{self, Returned},
    slots,
    sock::{Queues, Sock, tcp_state},
    tally::tally,
};

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

/// Does at the entry what no program before it has done: the kprobe, or another fentry program.
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
fn net_of(sk: u64, skb: u64) -> Result<Net, Fault> {
    if sk == 0 { Packet(skb).net() } else { Sock(sk).net() }
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
    let reason = kernel_reason(mark);
    send(
        state,
        &key,
        &EventFields { code, account: CounterHandle::at(slot), local_port, peer, queues, reason, age },
        now,
    );
    Ok(())
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
traced!(traced_v4; nq_tcp_v4_send_reset_2_fentry);
traced!(traced_v4; nq_tcp_v4_send_reset_3_fentry);
leaving!(leave, leave_v4; nq_tcp_v4_send_reset_return, nq_tcp_v4_send_reset_fexit);
entry!(probed_v6, traced_v6; nq_tcp_v6_send_reset, nq_tcp_v6_send_reset_fentry);
traced!(traced_v6; nq_tcp_v6_send_reset_2_fentry);
traced!(traced_v6; nq_tcp_v6_send_reset_3_fentry);
leaving!(leave, leave_v6; nq_tcp_v6_send_reset_return, nq_tcp_v6_send_reset_fexit);
