//! net/ipv4/inet_connection_sock.c `inet_csk_reqsk_queue_drop(sk, req)`: a request is dropped.
//! The function returns true if the request was still there.
//!
//! `tcp_check_req` calls the function where a reset, sent or received, ends a handshake, and raises
//! EmbryonicRsts at once if it returns true. `tcp_check_req` itself runs for every handshake; this function
//! does not. Other callers count nothing, or something else: the return address reveals the caller. If
//! another tracer has replaced that, the counter reveals it (embryonic.rs). The function runs with bottom
//! halves off.

use aya_ebpf::programs::{FExitContext, ProbeContext, RetProbeContext};
use netqueue_common::{CounterId, Tally};

use super::{
    call::{Entry as _, Return, leaving, probed},
    trampoline::{Function, Traced},
};
use crate::{
    caller::Caller,
    dropped_ack, embryonic,
    inflight::CpuState,
    layout::layout,
    maps::{CounterHandle, state},
    mib_values::MibPtr,
    read::Fault,
    sock::Sock,
    tally::tally,
};

#[inline(always)]
fn own() -> Function {
    Function { code: layout!(code_of_queue_drop), parameters: 2 }
}

#[inline(always)]
fn enter(call: &ProbeContext) -> Result<(), Fault> {
    let state = state();
    let caller = Caller::of(call.caller(own()).unwrap_or(0), layout!(code_of_check_req));
    let (sk, request) = (call.arg(0).unwrap_or(0), call.arg(1).unwrap_or(0));
    state.queue_drop.open(call.frame(), sk, request, 0, []);
    state.queue_drop.mark = caller as u64;
    Ok(())
}

#[inline(always)]
fn leave(call: &RetProbeContext) -> Result<(), Fault> {
    let (state, unlinked): (_, u64) = (state(), call.ret());
    let caller = state.queue_drop.mark;
    if !state.queue_drop.close(call.frame()) || caller == Caller::Another as u64 {
        return Ok(());
    }
    let (sk, request) = (Sock(state.queue_drop.sk), Sock(state.queue_drop.skb));
    ended(state, sk, request, unlinked, caller == Caller::Hidden as u64)
}

#[inline(always)]
fn leave_traced(call: &FExitContext) -> Result<(), Fault> {
    let (state, unlinked, call) = (state(), Return::ret(call), Traced::new(call));
    let caller = Caller::of(call.caller(own()).unwrap_or(0), layout!(code_of_check_req));
    if caller == Caller::Another {
        return Ok(());
    }
    let sk = Sock(call.arg_via(0, &mut state.scratch));
    let request = Sock(call.arg_via(1, &mut state.scratch));
    ended(state, sk, request, unlinked, caller == Caller::Hidden)
}

/// Notes that a request was ended by `tcp_check_req`, or, if the caller is hidden, perhaps by it.
#[inline(always)]
fn ended(state: &mut CpuState, sk: Sock, request: Sock, unlinked: u64, hidden: bool) -> Result<(), Fault> {
    let answered = state.answered == sk.0;
    state.answered = 0;
    // A bool is returned in the low byte. Where it is false another CPU has ended the request.
    if unlinked & 0xff == 0 {
        return Ok(());
    }
    let account = CounterHandle::open(&mut sk.listener_key()?);
    if hidden {
        tally(Tally::CallerHidden);
        let cells = MibPtr::linux(state, sk.net()?)?;
        embryonic::owe(state, cells, account);
        // A reset that answered the handshake is its end. Without one, the request's timer may have ended it.
        return if answered { dropped_ack::ended(&mut state.flow, request, true, account) } else { Ok(()) };
    }
    embryonic::settle(state);
    account.add(CounterId::EmbryonicRsts, 1);
    dropped_ack::ended(&mut state.flow, request, answered, account)
}

probed!(enter; nq_inet_csk_reqsk_queue_drop);
leaving!(leave, leave_traced; nq_inet_csk_reqsk_queue_drop_return, nq_inet_csk_reqsk_queue_drop_fexit);
