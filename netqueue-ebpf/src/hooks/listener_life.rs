//! A listener's beginning and end.
//!
//! net/ipv4/inet_connection_sock.c `inet_csk_listen_start(sk[, backlog])`: a socket becomes a listener. Its address in
//! memory may be that of an earlier one, on the same port: what was charged to that one is not this one's.
//!
//! `inet_csk_listen_stop(sk)`: the listener ends. The resets of those still in its queue follow and are charged to it.
//!
//! `inet_child_forget(listener, req, child)`: the listener is closed while a connection waits in its accept queue, which
//! may be reset: bottom halves stay off, so that whatever is reset before it returns is that connection.

use aya_ebpf::{
    macros::{kprobe, kretprobe},
    programs::{ProbeContext, RetProbeContext},
};

use super::arg;
use crate::{
    account::observe,
    kernel::{Fault, Sock},
    maps::state,
    scope::Forgotten,
    slots, traffic,
};

#[kprobe]
fn inet_csk_listen_start(ctx: ProbeContext) -> u32 {
    observe(Sock(arg(&ctx, 0)).listener_key().map(|key| slots::forget(&key)))
}

#[kprobe]
fn inet_csk_listen_stop(ctx: ProbeContext) -> u32 {
    observe(Sock(arg(&ctx, 0)).listener_key().map(|key| slots::close(&key)))
}

#[inline(always)]
fn forget_child(listener: u64, child: u64) -> Result<(), Fault> {
    state()?.forgotten = Forgotten { listener, child };
    traffic::abandoned(child);
    Ok(())
}

#[kprobe]
fn inet_child_forget(ctx: ProbeContext) -> u32 {
    observe(forget_child(arg(&ctx, 0), arg(&ctx, 2)))
}

/// Not every child is reset, and the memory of one that was not may soon be another's.
#[kretprobe]
fn inet_child_forget_return(_ctx: RetProbeContext) -> u32 {
    observe(forget_child(0, 0))
}
