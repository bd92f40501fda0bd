//! net/ipv4/tcp_output.c `tcp_send_active_reset(sk, ..)`: this side resets a connection of its own accord.
//!
//! Its first statement raises OutRsts, so each entry is one. It takes `(sk, priority)` before 6.10,
//! `(sk, priority, reason)` from 6.10 and `(sk, reason)` from 7.2: the loader says where the reason is. It may run in
//! process context.

use core::hint::black_box;

use aya_ebpf::{macros::kprobe, programs::ProbeContext};
use netqueue_common::{Cell, NO_REASON};

use super::arg;
use crate::{
    account::{Facts, observe, report},
    kernel::{Fault, Peer, Queues, Sock, layout},
    maps::{Account, state},
};

#[inline(always)]
fn enter(sk: u64, reason: u32) -> Result<(), Fault> {
    let state = state()?;
    let sk = Sock(sk);
    let local = sk.local_key()?;
    let key = sk.net()?.without_ephemeral_port(local)?;
    let cell = cause(reason);
    if let Some(account) = Account::open(&key) {
        account.add(Cell::OutRsts, 1);
        account.add(cell, 1);
    }
    let peer = sk.peer().unwrap_or(Peer::UNKNOWN);
    report(
        state,
        &key,
        &Facts { code: cell as u32, local_port: local.port, peer, queues: Queues::UNKNOWN, reason },
    );
    Ok(())
}

/// What the kernel's reason alone tells. SO_LINGER 0 and a closed listener share one reason, and kernels before 6.10 give
/// none: those are `other`.
#[inline(always)]
fn cause(reason: u32) -> Cell {
    if reason == NO_REASON {
        Cell::ResetOther
    } else if reason == layout!(reason_abort_on_close) {
        Cell::ResetCloseUnreadData
    } else if reason == layout!(reason_abort_on_memory) {
        Cell::ResetOutOfMemory
    } else if reason == layout!(reason_keepalive_timeout) {
        Cell::ResetKeepaliveTimeout
    } else {
        Cell::ResetOther
    }
}

#[inline(always)]
fn reason(ctx: &ProbeContext) -> u32 {
    // Both are read before one is chosen: a load through a chosen context pointer would not pass the verifier.
    let (second, third) = (black_box(arg(ctx, 1)), black_box(arg(ctx, 2)));
    match layout!(active_reset_reason_arg) {
        1 => second as u32,
        2 => third as u32,
        _ => NO_REASON,
    }
}

#[kprobe]
fn tcp_send_active_reset(ctx: ProbeContext) -> u32 {
    observe(enter(arg(&ctx, 0), reason(&ctx)))
}
