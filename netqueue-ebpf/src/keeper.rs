//! What the daemon asks for: programs that are attached to nothing and run by BPF_PROG_TEST_RUN.
//!
//! A change of the maps by system call would raise `bpf_prog_active` on its CPU and make the kernel skip every kprobe
//! program there; such a run does not. Their answers are those of [`netqueue_common::kept`].

use aya_ebpf::{macros::raw_tracepoint, programs::RawTracePointContext};
use netqueue_common::kept;

use crate::{embryonic, looked, maps::state, slots};

/// Arguments: slot, generation.
#[raw_tracepoint]
fn nq_slot_examine(ctx: RawTracePointContext) -> i32 {
    slots::examine(ctx.arg(0), ctx.arg(1)) as i32
}

/// Arguments: slot, generation.
#[raw_tracepoint]
fn nq_slot_retire(ctx: RawTracePointContext) -> i32 {
    slots::retire(ctx.arg(0), ctx.arg(1)) as i32
}

/// Arguments: slot, generation.
#[raw_tracepoint]
fn nq_slot_release(ctx: RawTracePointContext) -> i32 {
    slots::release(ctx.arg(0), ctx.arg(1)) as i32
}

/// Arguments: a CPU, whose counters are noted as they are in some namespaces more, and whether this runs on it.
#[raw_tracepoint]
fn nq_seed_baselines(ctx: RawTracePointContext) -> i32 {
    looked::note_some(ctx.arg(0), ctx.arg::<u32>(1) != 0).unwrap_or(kept::STALE) as i32
}

/// Charges what this CPU owes ([`embryonic`]). To be run on the CPU.
#[raw_tracepoint]
fn nq_settle_resets(_ctx: RawTracePointContext) -> i32 {
    let owes = embryonic::settle(state());
    (if owes { kept::BUSY } else { kept::DONE }) as i32
}
