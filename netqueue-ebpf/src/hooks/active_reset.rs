//! net/ipv4/tcp_output.c `tcp_send_active_reset(sk, ..)`: this side resets a connection unprompted.
//!
//! The function's first statement raises OutRsts, so each call is one reset. The function takes `(sk,
//! priority)` before 6.10, `(sk, priority, reason)` from 6.10 and `(sk, reason)` from 7.2: the loader finds
//! the position of the reason. A connection that a closing listener still had in its accept queue is charged
//! to that listener.
//!
//! The function may run in process context, where the kernel skips the kprobe at its entry while a map
//! operation of any task is preempted on that CPU, and below a softirq. fentry and fexit programs then do what
//! the skipped one would have done: the function changes nothing that the cause is told by. They take longer
//! then, so that tasks are preempted within them, too, which is why there are several.

use core::hint::black_box;

use aya_ebpf::{macros::map, maps::LruHashMap, programs::FExitContext};
use netqueue_common::{CounterId, KernelLayout, NO_REASON, Tally};

use super::{
    call::{Entry, entry, returned, traced},
    trampoline::Function,
};
use crate::{
    caller::{is_hidden, is_within},
    emit::{EventFields, report},
    inflight::CpuState,
    layout::layout,
    maps::{CounterHandle, state},
    read::Fault,
    reset_flows,
    sock::{Queues, Sock, tcp_state},
    tally::tally,
};

/// Sockets whose reset was charged at the entry of a call that has not returned, with their ports.
/// A socket is locked while it is reset, and so is in one call at a time. Where no program is at the return,
/// or it was skipped, a socket stays until it is evicted, and another may take its memory.
#[map(name = "nq_active_rst")]
static CHARGED: LruHashMap<u64, u32> = LruHashMap::with_max_entries(4096, 0);

#[inline(always)]
fn enter(call: &impl Entry) -> Result<(), Fault> {
    let sk = call.arg(0);
    CHARGED.insert(sk, Sock(sk).ports()?, 0).map_err(|_| Fault)?;
    account_for(call, sk)
}

/// Charges at the entry what no program before it has charged: the kprobe, or another fentry program.
#[inline(always)]
fn enter_traced(call: &impl Entry) -> Result<(), Fault> {
    if is_charged(call.arg(0))? { Ok(()) } else { enter(call) }
}

#[inline(always)]
fn leave(call: &FExitContext) -> Result<(), Fault> {
    let sk = Entry::arg(call, 0);
    let charged = is_charged(sk)?;
    // Not there if no program ran at the entry.
    let _removed = CHARGED.remove(sk);
    if charged { Ok(()) } else { account_for(call, sk) }
}

/// Returns whether the call that resets this socket now was charged.
#[inline(always)]
fn is_charged(sk: u64) -> Result<bool, Fault> {
    let Some(charged) = CHARGED.get_ptr(sk) else { return Ok(false) };
    // SAFETY: a live map value. Should the map give it to another socket meanwhile, it stays a number.
    Ok(unsafe { *charged } == Sock(sk).ports()?)
}

/// Charges the reset that a call sends.
#[inline(always)]
fn account_for(call: &impl Entry, sk: u64) -> Result<(), Fault> {
    let state = state();
    let forgotten = state.forgotten;
    let (sk, reason) = (Sock(sk), reason(call));
    // A connection that is not remembered costs no count.
    let _remembered = reset_flows::connection(sk.0);
    if forgotten.child == sk.0 {
        state.forgotten.child = 0;
        charge(state, sk.0, forgotten.listener, CounterId::ResetListenerClosed as u32, reason)
    } else {
        charge(state, sk.0, 0, cause_of(call, sk.0, reason), reason)
    }
}

/// Charges a connection's reset to its listener, or, if that is 0, to its local address.
/// Not inlined: functions that are called one after the other share the program's stack of 512 bytes.
#[inline(never)]
fn charge(state: &mut CpuState, sk: u64, listener: u64, code: u32, reason: u32) -> Result<(), Fault> {
    let sk = Sock(sk);
    let mut key = if listener == 0 { sk.local_key()? } else { Sock(listener).listener_key()? };
    let local_port = key.port;
    if listener == 0 {
        key = sk.net()?.without_ephemeral_port(key)?;
    }
    let account = CounterHandle::open(&mut key);
    account.add(CounterId::OutRsts, 1);
    account.add_code(code, 1);
    let peer = sk.peer();
    report(
        state,
        &key,
        &EventFields { code, account, local_port, peer, queues: Queues::UNKNOWN, reason, age: 0 },
    );
    Ok(())
}

/// Returns the cell of the decision that led to this reset.
/// Not inlined: functions that are called one after the other share the program's stack of 512 bytes.
#[inline(never)]
fn cause_of(call: &impl Entry, sk: u64, reason: u32) -> u32 {
    let parameters = if layout!(active_reset_reason_arg) == 2 { 3 } else { 2 };
    let own = Function { code: layout!(code_of_active_reset), parameters };
    match cause(Sock(sk), reason, call.caller(own).unwrap_or(0)) {
        // The peer's close_notify came between this side's own and its close.
        CounterId::ResetCloseUnreadData if Sock(sk).left_an_alert() => CounterId::ResetPeerClosing as u32,
        known => known as u32,
    }
}

/// Returns the cell of the decision that led to this reset.
/// The kernel's reason reveals it for some; SO_LINGER 0 shares a reason with others, and kernels before 6.10
/// give none: then the calling function and the socket reveal it, and if the caller is hidden the socket
/// alone.
#[inline(always)]
fn cause(sk: Sock, reason: u32, caller: u64) -> CounterId {
    match of_reason(reason) {
        CounterId::ResetOther => {}
        known => return known,
    }
    if is_hidden(caller) {
        tally(Tally::CallerHidden);
        return by_socket(sk);
    }
    let called_from = |code| is_within(caller, code);
    let state = sk.state();
    let dead = sk.is_dead();
    if called_from(layout!(code_of_disconnect)) {
        if sk.lingers_zero() { CounterId::ResetLingerZero } else { CounterId::ResetOther }
    } else if called_from(layout!(code_of_close)) {
        // The kernel checks for unread data while the socket is still its process's, and for the rest when it
        // is an orphan.
        if !dead {
            CounterId::ResetCloseUnreadData
        } else if sk.waits_not_for_fin() {
            CounterId::ResetAfterClose
        } else {
            CounterId::ResetOutOfMemory
        }
    } else if called_from(layout!(code_of_keepalive)) {
        // An orphan in FIN_WAIT2 has the same timer, and the same function of it.
        if state == tcp_state::FIN_WAIT2 {
            CounterId::ResetAfterClose
        } else {
            CounterId::ResetKeepaliveTimeout
        }
    } else if dead
        && state != tcp_state::CLOSE
        && layout!(reason_abort_on_memory) == KernelLayout::ABSENT
        && !called_from(layout!(code_of_abort))
    {
        // tcp_out_of_resources, which the compiler may make part of any timer; newer kernels give its reason.
        CounterId::ResetOutOfMemory
    } else {
        CounterId::ResetOther
    }
}

/// Returns the cell that the socket alone reveals, by the checks of `__tcp_close` in their order.
#[inline(always)]
fn by_socket(sk: Sock) -> CounterId {
    let state = sk.state();
    if sk.is_dead() {
        let waits_for_nothing = state == tcp_state::CLOSE && sk.waits_not_for_fin();
        return if waits_for_nothing || state == tcp_state::FIN_WAIT2 {
            CounterId::ResetAfterClose
        } else {
            CounterId::ResetOther
        };
    }
    if state != tcp_state::CLOSE || !sk.is_shut_down() {
        CounterId::ResetOther
    } else if sk.has_unread_data() {
        CounterId::ResetCloseUnreadData
    } else if sk.lingers_zero() {
        CounterId::ResetLingerZero
    } else {
        CounterId::ResetOther
    }
}

#[inline(always)]
fn of_reason(reason: u32) -> CounterId {
    if reason == NO_REASON {
        CounterId::ResetOther
    } else if reason == layout!(reason_abort_on_close) {
        CounterId::ResetCloseUnreadData
    } else if reason == layout!(reason_abort_on_linger) {
        CounterId::ResetAfterClose
    } else if reason == layout!(reason_abort_on_memory) {
        CounterId::ResetOutOfMemory
    } else if reason == layout!(reason_keepalive_timeout) {
        CounterId::ResetKeepaliveTimeout
    } else {
        CounterId::ResetOther
    }
}

#[inline(always)]
fn reason(call: &impl Entry) -> u32 {
    // One load for each position: a load through a computed context pointer would not pass the verifier.
    match layout!(active_reset_reason_arg) {
        1 => black_box(call.number(1)) as u32,
        2 => black_box(call.number(2)) as u32,
        _ => NO_REASON,
    }
}

entry!(enter, enter_traced; nq_tcp_send_active_reset, nq_tcp_send_active_reset_fentry);
traced!(enter_traced; nq_tcp_send_active_reset_2_fentry);
traced!(enter_traced; nq_tcp_send_active_reset_3_fentry);
returned!(leave; nq_tcp_send_active_reset_fexit);
