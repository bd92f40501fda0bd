//! A look at the queues of listeners to which nothing happens: a program that is attached to nothing and that the daemon
//! has run when somebody wants to know. sock_diag tells the accept queue too, where its modules are; nothing else tells
//! the SYN queue. Whose listener is no more is noted to be closed: an end that was not seen is known with the next snapshot.

use aya_ebpf::{macros::raw_tracepoint, programs::RawTracePointContext};
use netqueue_common::Look;

use crate::{
    kernel::{Queues, Sock},
    layout::layout,
    slots, traffic,
};

/// Argument: the first of [`Look::BATCH`] slots.
#[raw_tracepoint]
fn nq_sample_queues(ctx: RawTracePointContext) -> i32 {
    let first: u32 = ctx.arg(0);
    for slot in 0..Look::BATCH {
        let slot = first.wrapping_add(slot);
        if slot >= layout!(listeners) {
            break;
        }
        traffic::note_look(slot, look_at(slot));
    }
    0
}

const NOTHING: Look = Look { listening: 0, accept_length: 0, accept_limit: 0, syn_length: 0 };

/// What no listener has is all zeroes, also on the way there: see [`slots::listener_of`].
#[inline(always)]
fn look_at(slot: u32) -> Look {
    let sock = slots::listener_of(slot);
    if sock == 0 {
        return NOTHING;
    }
    // Read before it is asked whose they are: what is gone since then does not answer.
    let Queues { accept_length, accept_limit, syn_length, .. } = Sock(sock).queues();
    if !slots::listens(slot) {
        // Its end was not noticed, or is being noted this very moment.
        slots::note_end(slot);
        return NOTHING;
    }
    Look { listening: 1, accept_length, accept_limit, syn_length }
}
