//! net/ipv4/tcp_output.c `tcp_rtx_synack(sk, req)`: a SYN-ACK is sent again; returns 0 if it was.
//!
//! `sk` is the listener, except for Fast Open, where it is the connection: so the request gives the listener.

use super::call::{Entry, Return, entry, leaving};
use crate::{maps::state, read::Fault, sock::Sock, traffic};

#[inline(always)]
fn enter(call: &impl Entry) -> Result<(), Fault> {
    let request = call.arg(1);
    let listener = Sock(request).listener()?;
    state().synack.open(call.frame(), listener.0, request, 0, []);
    Ok(())
}

#[inline(always)]
fn leave(call: &impl Return) -> Result<(), Fault> {
    let state = state();
    let failed = call.ret() as u32 != 0;
    if !state.synack.close(call.frame()) || failed {
        return Ok(());
    }
    let listener = Sock(state.synack.sk);
    traffic::synack_sent_again(state, listener)
}

entry!(enter; nq_tcp_rtx_synack, nq_tcp_rtx_synack_fentry);
leaving!(leave; nq_tcp_rtx_synack_return, nq_tcp_rtx_synack_fexit);
