//! net/ipv4/tcp_output.c `tcp_rtx_synack(sk, req)`: a SYN-ACK is sent again; 0 where it was.
//!
//! `sk` is the listener, but for Fast Open, where it is the connection: the request knows its listener.

use aya_ebpf::{
    macros::{kprobe, kretprobe},
    programs::{ProbeContext, RetProbeContext},
};

use super::{arg, entry_frame, return_frame};
use crate::{
    account::observe,
    kernel::{Fault, Sock},
    maps::state,
    scope::Frame,
    traffic,
};

#[inline(always)]
fn enter(request: u64, frame: Frame) -> Result<(), Fault> {
    let listener = Sock(request).listener()?;
    state()?.synack.open(frame, listener.0, request, 0, []);
    Ok(())
}

#[inline(always)]
fn leave(failed: bool, frame: Frame) -> Result<(), Fault> {
    let state = state()?;
    if !state.synack.close(frame) || failed {
        return Ok(());
    }
    let listener = Sock(state.synack.sk);
    traffic::synack_sent_again(state, listener)
}

#[kprobe]
fn tcp_rtx_synack(ctx: ProbeContext) -> u32 {
    observe(enter(arg(&ctx, 1), entry_frame(&ctx)))
}

#[kretprobe]
fn tcp_rtx_synack_return(ctx: RetProbeContext) -> u32 {
    observe(leave(ctx.ret::<u32>() != 0, return_frame(&ctx)))
}
