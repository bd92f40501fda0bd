//! One file per hooked kernel function: what is noted at its entry, what is charged at its return, and the thin
//! programs that attach both.

mod active_reset;
mod check_req;
mod conn_request;
mod cookie_check;
mod listener_life;
mod namespace_life;
mod peer_is_proven;
mod req_err;
mod rtx_synack;
mod send_reset;
mod sock_graft;
mod syn_recv_sock;

use aya_ebpf::programs::{ProbeContext, RetProbeContext};

use crate::{
    kernel::{Fault, read},
    scope::Frame,
};

/// The stack pointer of a probed function's registers.
#[cfg(bpf_target_arch = "x86_64")]
macro_rules! stack_pointer {
    ($ctx:expr) => {{
        // SAFETY: the context of a kprobe program is a pt_regs.
        Frame(unsafe { (*$ctx.regs).rsp })
    }};
}
/// The stack pointer of a probed function's registers.
#[cfg(bpf_target_arch = "aarch64")]
macro_rules! stack_pointer {
    ($ctx:expr) => {{
        // SAFETY: the context of a kprobe program is a pt_regs, which begins with user_pt_regs on this architecture.
        Frame(unsafe { (*$ctx.regs).sp })
    }};
}

#[inline(always)]
fn entry_frame(ctx: &ProbeContext) -> Frame {
    stack_pointer!(ctx)
}

#[inline(always)]
fn return_frame(ctx: &RetProbeContext) -> Frame {
    stack_pointer!(ctx)
}

/// The address the probed function returns to: inside its caller.
#[cfg(bpf_target_arch = "x86_64")]
#[inline(always)]
fn caller(ctx: &ProbeContext) -> Result<u64, Fault> {
    read(entry_frame(ctx).0, 0)
}
/// The address the probed function returns to: inside its caller.
#[cfg(bpf_target_arch = "aarch64")]
#[inline(always)]
fn caller(ctx: &ProbeContext) -> Result<u64, Fault> {
    // SAFETY: the context of a kprobe program is a pt_regs; x30 is the link register.
    Ok(unsafe { (*ctx.regs).regs[30] })
}

/// The `n`th argument as a number; 0 where the calling convention has none.
#[inline(always)]
fn arg(ctx: &ProbeContext, n: usize) -> u64 {
    ctx.arg(n).unwrap_or(0)
}
