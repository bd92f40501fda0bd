//! Programs that do nothing, to be attached where the others are: what it costs to be called at all.

use aya_ebpf::{
    macros::{fentry, fexit, kprobe, kretprobe},
    programs::{FEntryContext, FExitContext, ProbeContext, RetProbeContext},
};

#[kprobe]
fn empty_kprobe(_ctx: ProbeContext) -> u32 {
    0
}

#[kretprobe]
fn empty_kretprobe(_ctx: RetProbeContext) -> u32 {
    0
}

#[fentry]
fn empty_fentry(_ctx: FEntryContext) -> u32 {
    0
}

#[fexit]
fn empty_fexit(_ctx: FExitContext) -> u32 {
    0
}
