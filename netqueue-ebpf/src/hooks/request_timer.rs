//! net/ipv4/inet_connection_sock.c `reqsk_timer_handler(t)`: the timer of a pending request.
//! The request has waited for its final ACK: its SYN-ACK is sent again, or the request is given up.
//!
//! Only requests whose final ACK came and was dropped matter here. A request that is given up leaves the
//! table of connections, and its memory may be reused when the function returns. If the listener is closed,
//! the request is nobody's any more, or moves to another listener: neither is a time-out. The function runs
//! in the timer's softirq.

use super::call::{Entry, Return, entry, leaving};
use crate::{
    dropped_ack,
    layout::layout,
    maps::state,
    read::Fault,
    sock::{Sock, tcp_state},
};

#[inline(always)]
fn enter(call: &impl Entry) -> Result<(), Fault> {
    let state = state();
    let request = Sock(call.arg_via(0, &mut state.scratch).wrapping_sub(u64::from(layout!(request_timer))));
    state.timer.open(call.frame(), 0, request.0, 0, []);
    let listener = request.listener()?;
    if listener.state() == tcp_state::LISTEN && dropped_ack::is_ack_dropped(&mut state.timer_flow, request)? {
        state.timer.sk = listener.0;
        state.timer.mark = 1;
    }
    Ok(())
}

#[inline(always)]
fn leave(call: &impl Return) -> Result<(), Fault> {
    let state = state();
    if !state.timer.close(call.frame()) || state.timer.mark == 0 {
        return Ok(());
    }
    if Sock(state.timer.skb).is_pending(&state.timer_flow)? {
        return Ok(());
    }
    dropped_ack::timed_out(&state.timer_flow, Sock(state.timer.sk))
}

entry!(enter; nq_reqsk_timer_handler, nq_reqsk_timer_handler_fentry);
leaving!(leave; nq_reqsk_timer_handler_return, nq_reqsk_timer_handler_fexit);
