//! net/ipv4/inet_connection_sock.c `inet_csk_reqsk_queue_drop(sk, req)`: a pending request is dropped; true where it was still
//! there.
//!
//! `tcp_check_req` calls it where a reset, sent or received, ends a handshake, and raises EmbryonicRsts at once if it returns
//! true. `tcp_check_req` itself runs for every handshake; this does not. Others that call it count nothing, or something else:
//! who calls is told by the return address. It runs with bottom halves off.

use aya_ebpf::programs::{FExitContext, ProbeContext, RetProbeContext};
use netqueue_common::Cell;

use super::{
    call::{Entry as _, Return, leaving, probed},
    trampoline::{Function, Traced},
};
use crate::{
    kernel::{Fault, Sock, is_within},
    layout::layout,
    ledger,
    maps::{Account, state},
    scope::CpuState,
};

#[inline(always)]
fn own() -> Function {
    Function { code: layout!(code_of_queue_drop), parameters: 2 }
}

#[inline(always)]
fn enter(call: &ProbeContext) -> Result<(), Fault> {
    let (state, caller) = (state(), call.caller(own())?);
    let (sk, request) = (call.arg(0).unwrap_or(0), call.arg(1).unwrap_or(0));
    state.queue_drop.open(call.frame(), sk, request, 0, []);
    state.queue_drop.mark = u64::from(is_within(caller, layout!(code_of_check_req)));
    Ok(())
}

#[inline(always)]
fn leave(call: &RetProbeContext) -> Result<(), Fault> {
    let (state, unlinked): (_, u64) = (state(), call.ret());
    if !state.queue_drop.close(call.frame()) || state.queue_drop.mark == 0 {
        return Ok(());
    }
    let (sk, request) = (Sock(state.queue_drop.sk), Sock(state.queue_drop.skb));
    ended(state, sk, request, unlinked)
}

#[inline(always)]
fn leave_traced(call: &FExitContext) -> Result<(), Fault> {
    let (state, unlinked, call) = (state(), Return::ret(call), Traced::new(call));
    if !is_within(call.caller(own())?, layout!(code_of_check_req)) {
        return Ok(());
    }
    let sk = Sock(call.arg_via(0, &mut state.place));
    let request = Sock(call.arg_via(1, &mut state.place));
    ended(state, sk, request, unlinked)
}

/// `tcp_check_req` ends a request.
#[inline(always)]
fn ended(state: &mut CpuState, sk: Sock, request: Sock, unlinked: u64) -> Result<(), Fault> {
    let answered = state.answered == sk.0;
    state.answered = 0;
    // A bool is returned in the low byte. Where it is false another CPU has ended the request.
    if unlinked & 0xff == 0 {
        return Ok(());
    }
    let mut key = sk.listener_key()?;
    let account = Account::open(&mut key);
    account.add(Cell::EmbryonicRsts, 1);
    ledger::ended(&mut state.flow, request, answered, account)
}

probed!(enter; inet_csk_reqsk_queue_drop);
leaving!(leave, leave_traced; inet_csk_reqsk_queue_drop_return, inet_csk_reqsk_queue_drop_fexit);
