//! Beginning and end of a listener.
//!
//! net/ipv4/inet_connection_sock.c `inet_csk_listen_start(sk[, backlog])`: a socket becomes a listener. Its
//! address in memory may be that of an earlier one, on the same port: charges to the earlier one are not its
//! own.
//!
//! `inet_csk_listen_stop(sk)`: the listener ends. The resets of the connections still in its queue follow and
//! are charged to it.
//!
//! `inet_child_forget(listener, req, child)`: the listener is closed while a connection waits in its accept
//! queue. The connection may be reset: bottom halves stay off, so that whatever is reset before the function
//! returns is that connection.

use super::call::{Entry, Return, entry, leaving};
use crate::{inflight::Forgotten, listened, maps::state, read::Fault, slots, sock::Sock, traffic};

#[inline(always)]
fn started(call: &impl Entry) -> Result<(), Fault> {
    Sock(call.arg(0)).listener_key().map(|key| {
        listened::note(&key);
        slots::forget(&key);
    })
}

#[inline(always)]
fn stopped(call: &impl Entry) -> Result<(), Fault> {
    Sock(call.arg(0)).listener_key().map(|key| {
        listened::note(&key);
        slots::close(&key);
    })
}

#[inline(always)]
fn forget_child(call: &impl Entry) -> Result<(), Fault> {
    let (listener, child) = (call.arg(0), call.arg(2));
    state().forgotten = Forgotten { listener, child };
    traffic::abandoned(child);
    Ok(())
}

/// Clears the note of the connection.
/// Not every child is reset, and the memory of one that was not may soon be reused.
#[inline(always)]
fn child_forgotten(_call: &impl Return) -> Result<(), Fault> {
    state().forgotten = Forgotten { listener: 0, child: 0 };
    Ok(())
}

entry!(started; nq_inet_csk_listen_start, nq_inet_csk_listen_start_fentry);
entry!(stopped; nq_inet_csk_listen_stop, nq_inet_csk_listen_stop_fentry);
entry!(forget_child; nq_inet_child_forget, nq_inet_child_forget_fentry);
leaving!(child_forgotten; nq_inet_child_forget_return, nq_inet_child_forget_fexit);
