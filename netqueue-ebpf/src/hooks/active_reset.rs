//! net/ipv4/tcp_output.c `tcp_send_active_reset(sk, ..)`: this side resets a connection of its own accord.
//!
//! Its first statement raises OutRsts, so each entry is one. It takes `(sk, priority)` before 6.10,
//! `(sk, priority, reason)` from 6.10 and `(sk, reason)` from 7.2: the loader says where the reason is. It may run in
//! process context. A connection that a closing listener still had in its accept queue is charged to that listener.

use core::hint::black_box;

use netqueue_common::{Cell, NO_REASON};

use super::{
    call::{Entry, entry},
    trampoline::Function,
};
use crate::{
    account::{Facts, report},
    kernel::{Fault, Queues, Sock, is_within, tcp_state},
    layout::layout,
    maps::{Account, state},
    mib::Cells,
    packet::Peer,
};

#[inline(always)]
fn enter(call: &impl Entry) -> Result<(), Fault> {
    let state = state();
    let forgotten = state.forgotten;
    let (sk, reason) = (Sock(call.arg(0)), reason(call));
    if state.reset[0].is_open() {
        let cells = Cells::tcp(state, sk.net()?)?;
        state.note_sent_on_top(cells.0, 1);
    }
    let local = sk.local_key()?;
    let own = Function { code: layout!(code_of_active_reset), parameters: 0 };
    let (cell, mut key) = if forgotten.child == sk.0 {
        state.forgotten.child = 0;
        (Cell::ResetListenerClosed, Sock(forgotten.listener).listener_key()?)
    } else {
        (cause(sk, reason, call.caller(own).unwrap_or(0)), sk.net()?.without_ephemeral_port(local)?)
    };
    let account = Account::open(&mut key);
    account.add(Cell::OutRsts, 1);
    account.add(cell, 1);
    let peer = sk.peer().unwrap_or(Peer::UNKNOWN);
    let facts = Facts {
        code: cell as u32,
        account,
        local_port: local.port,
        peer,
        queues: Queues::UNKNOWN,
        reason,
        age: 0,
    };
    report(state, &key, &facts);
    Ok(())
}

/// Which decision led here. The kernel's reason tells some; SO_LINGER 0 shares one with others, and kernels before 6.10
/// give none: there the calling function and the socket tell.
#[inline(always)]
fn cause(sk: Sock, reason: u32, caller: u64) -> Cell {
    let called_from = |code| is_within(caller, code);
    if called_from(layout!(code_of_disconnect)) {
        return if sk.lingers_zero().unwrap_or(false) { Cell::ResetLingerZero } else { Cell::ResetOther };
    }
    match of_reason(reason) {
        Cell::ResetOther => {}
        told => return told,
    }
    let state = sk.state().unwrap_or(0);
    let dead = sk.is_dead().unwrap_or(false);
    if called_from(layout!(code_of_close)) {
        // Unread data is looked for while the socket is still its process's; the rest when it is an orphan.
        if !dead {
            Cell::ResetCloseUnreadData
        } else if sk.waits_not_for_fin().unwrap_or(false) {
            Cell::ResetAfterClose
        } else {
            Cell::ResetOutOfMemory
        }
    } else if called_from(layout!(code_of_keepalive)) {
        // The timer of an orphan in FIN_WAIT2 is the same, and so is its function.
        if state == tcp_state::FIN_WAIT2 { Cell::ResetAfterClose } else { Cell::ResetKeepaliveTimeout }
    } else if dead && state != tcp_state::CLOSE {
        // tcp_out_of_resources, which the compiler may make part of any timer.
        Cell::ResetOutOfMemory
    } else {
        Cell::ResetOther
    }
}

#[inline(always)]
fn of_reason(reason: u32) -> Cell {
    if reason == NO_REASON {
        Cell::ResetOther
    } else if reason == layout!(reason_abort_on_close) {
        Cell::ResetCloseUnreadData
    } else if reason == layout!(reason_abort_on_linger) {
        Cell::ResetAfterClose
    } else if reason == layout!(reason_abort_on_memory) {
        Cell::ResetOutOfMemory
    } else if reason == layout!(reason_keepalive_timeout) {
        Cell::ResetKeepaliveTimeout
    } else {
        Cell::ResetOther
    }
}

#[inline(always)]
fn reason(call: &impl Entry) -> u32 {
    // Each on its own: a load through a chosen context pointer would not pass the verifier.
    match layout!(active_reset_reason_arg) {
        1 => black_box(call.number(1)) as u32,
        2 => black_box(call.number(2)) as u32,
        _ => NO_REASON,
    }
}

entry!(enter; tcp_send_active_reset, tcp_send_active_reset_fentry);
