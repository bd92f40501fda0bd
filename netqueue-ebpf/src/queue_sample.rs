//! Samples of the queues of listeners to which nothing happens.
//! The program is attached to nothing; the daemon runs it on request. sock_diag reports the accept queue too,
//! where its modules are; nothing else reports the SYN queue. A listener that no longer exists is noted as
//! closed: an end that was not seen is thus known with the next snapshot.

use aya_ebpf::{macros::raw_tracepoint, programs::RawTracePointContext};
use netqueue_common::QueueSample;

use crate::{
    layout::layout,
    slots,
    sock::{Queues, Sock},
    traffic,
};

/// Samples the queues of a batch of listeners. Argument: the first of [`QueueSample::BATCH`] slots.
#[raw_tracepoint]
fn nq_sample_queues(ctx: RawTracePointContext) -> i32 {
    let first: u32 = ctx.arg(0);
    for slot in 0..QueueSample::BATCH {
        let slot = first.wrapping_add(slot);
        if slot >= layout!(listeners) {
            break;
        }
        traffic::note_look(slot, look_at(slot));
    }
    0
}

const NOTHING: QueueSample = QueueSample { listening: 0, accept_length: 0, accept_limit: 0, syn_length: 0 };

/// Samples the queues of a slot's listener; all zeroes if there is none.
/// The socket is 0 then, too, not an `Option`: see [`slots::listener_of`].
#[inline(always)]
fn look_at(slot: u32) -> QueueSample {
    let sock = slots::listener_of(slot);
    if sock == 0 {
        return NOTHING;
    }
    // Read before the owner is checked: a listener that is gone meanwhile fails the check.
    let Queues { accept_length, accept_limit, syn_length, .. } = Sock(sock).queues();
    if !slots::listens(slot) {
        // The end was not noticed, or is being noted at this very moment.
        slots::note_end(slot);
        return NOTHING;
    }
    QueueSample { listening: 1, accept_length, accept_limit, syn_length }
}
