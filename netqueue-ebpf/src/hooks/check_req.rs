//! net/ipv4/tcp_minisocks.c `tcp_check_req(sk, skb, req, fastopen, ..)`: a packet hit a pending request.
//!
//! It moves EmbryonicRsts when a reset, sent or received, ends the request. While it is open, a reset sent for its
//! packet is one of a handshake. With `fastopen` it serves a Fast Open child, possibly with bottom halves on, and counts
//! nothing: such calls are passed over.

use netqueue_common::Cell;

use super::call::{Entry, Return, entry, leaving};
use crate::{
    kernel::{Fault, Sock, layout},
    ledger,
    maps::{Account, state},
    mib::Cells,
};

#[inline(always)]
fn enter(call: &impl Entry) -> Result<(), Fault> {
    let state = state()?;
    if is_fastopen(call.number(3)) {
        state.open_fastopen(call.frame());
        return Ok(());
    }
    let sk = call.arg_via(0, &mut state.place);
    let skb = call.arg_via(1, &mut state.place);
    let cells = call.cells(state, sk)?;
    state.request.open(call.frame(), sk, skb, cells.0, [cells.embryonic()?]);
    Ok(())
}

/// A bool is passed in the low byte of its register.
#[inline(always)]
fn is_fastopen(argument: u64) -> bool {
    argument & 0xff != 0
}

#[inline(always)]
fn leave(call: &impl Return) -> Result<(), Fault> {
    let state = state()?;
    let fastopen = match call.number(3) {
        Some(argument) => is_fastopen(argument),
        None => state.close_fastopen(call.frame()),
    };
    let answer = call.ret_via(layout!(check_req_parameters), &mut state.place);
    // A request that a reset ended is no socket's.
    if fastopen || !state.request.close(call.frame()) || answer != 0 {
        return Ok(());
    }
    let moved = Cells(state.request.cells).embryonic()?.wrapping_sub(state.request.before[0]);
    if moved == 0 {
        return Ok(());
    }
    let mut key = Sock(state.request.sk).listener_key()?;
    let account = Account::open(&mut key);
    account.add(Cell::EmbryonicRsts, moved);
    ledger::ended(&mut state.flow, Sock(state.request.sk), state.request.skb, account)
}

entry!(enter; tcp_check_req, tcp_check_req_fentry);
leaving!(leave; tcp_check_req_return, tcp_check_req_fexit);
