//! Programs that are attached to nothing and that the daemon runs by BPF_PROG_TEST_RUN.
//!
//! A change of the maps by system call would raise `bpf_prog_active` on its CPU and make the kernel skip
//! every kprobe program there; such a run does not. The return values are those of [`netqueue_common::control_status`].

use aya_ebpf::{macros::raw_tracepoint, programs::RawTracePointContext};
use netqueue_common::control_status;

use crate::{embryonic, maps::state, mib_baseline, slots, traffic};

/// Checks that a slot's listener still listens. Arguments: slot, generation.
#[raw_tracepoint]
fn nq_slot_examine(ctx: RawTracePointContext) -> i32 {
    slots::examine(ctx.arg(0), ctx.arg(1)) as i32
}

/// Retires a slot. Arguments: slot, generation.
#[raw_tracepoint]
fn nq_slot_retire(ctx: RawTracePointContext) -> i32 {
    slots::retire(ctx.arg(0), ctx.arg(1)) as i32
}

/// Releases a retired slot. Arguments: slot, generation.
#[raw_tracepoint]
fn nq_slot_release(ctx: RawTracePointContext) -> i32 {
    slots::release(ctx.arg(0), ctx.arg(1), traffic::clear) as i32
}

/// Notes the counters of a CPU in some more namespaces.
/// Arguments: the CPU, and whether the program runs on it.
#[raw_tracepoint]
fn nq_seed_baselines(ctx: RawTracePointContext) -> i32 {
    mib_baseline::seed_baselines(ctx.arg(0), ctx.arg::<u32>(1) != 0).unwrap_or(control_status::STALE) as i32
}

/// Charges what is pending on this CPU ([`embryonic`]). To be run on that CPU.
#[raw_tracepoint]
fn nq_settle_resets(_ctx: RawTracePointContext) -> i32 {
    let owes = embryonic::settle(state());
    (if owes { control_status::BUSY } else { control_status::DONE }) as i32
}
