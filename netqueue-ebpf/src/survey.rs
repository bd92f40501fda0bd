//! A look at the queues of listeners to which nothing happens: a program that is attached to nothing and that the daemon
//! has run when somebody wants to know. sock_diag tells the accept queue too, where its modules are; nothing else tells
//! the SYN queue.

use aya_ebpf::{macros::raw_tracepoint, programs::RawTracePointContext};
use netqueue_common::Look;

use crate::{
    kernel::{Fault, Queues, Sock},
    layout::layout,
    slots, traffic,
};

/// Argument: the first of [`Look::BATCH`] slots.
#[raw_tracepoint]
fn survey_queues(ctx: RawTracePointContext) -> i32 {
    let first: u32 = ctx.arg(0);
    for slot in 0..Look::BATCH {
        let slot = first.wrapping_add(slot);
        if slot >= layout!(listeners) {
            break;
        }
        traffic::note_look(slot, look_at(slot).unwrap_or(NOTHING));
    }
    0
}

const NOTHING: Look = Look { listening: 0, accept_length: 0, accept_limit: 0, syn_length: 0 };

#[inline(always)]
fn look_at(slot: u32) -> Result<Look, Fault> {
    let sock = slots::listener_of(slot).ok_or(Fault)?;
    // Read before it is asked whose they are: what is gone since then does not answer.
    let Queues { accept_length, accept_limit, syn_length, .. } = Sock(sock).queues();
    if !slots::listens(slot) {
        return Err(Fault);
    }
    Ok(Look { listening: 1, accept_length, accept_limit, syn_length })
}
