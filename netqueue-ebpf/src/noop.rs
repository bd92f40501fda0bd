//! Programs that do nothing, attached where the others are to measure the cost of a call as such.

use aya_ebpf::{
    macros::{fentry, fexit, kprobe, kretprobe},
    programs::{FEntryContext, FExitContext, ProbeContext, RetProbeContext},
};

#[kprobe]
fn nq_noop_kprobe(_ctx: ProbeContext) -> u32 {
    0
}

#[kretprobe]
fn nq_noop_kretprobe(_ctx: RetProbeContext) -> u32 {
    0
}

#[fentry]
fn nq_noop_fentry(_ctx: FEntryContext) -> u32 {
    0
}

#[fexit]
fn nq_noop_fexit(_ctx: FExitContext) -> u32 {
    0
}
