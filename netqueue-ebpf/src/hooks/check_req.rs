//! net/ipv4/tcp_minisocks.c `tcp_check_req(sk, skb, req, fastopen, ..)`: a packet hit a pending request.
//!
//! It moves EmbryonicRsts when a reset, sent or received, ends the request. While it is open, a reset sent for its
//! packet is one of a handshake. With `fastopen` it serves a Fast Open child, possibly with bottom halves on, and counts
//! nothing: such calls are passed over.

use aya_ebpf::{
    macros::{kprobe, kretprobe},
    programs::{ProbeContext, RetProbeContext},
};
use netqueue_common::Cell;

use super::{arg, entry_frame, return_frame};
use crate::{
    account::readable,
    kernel::{Fault, Sock},
    maps::{Account, state},
    mib::Cells,
    scope::{CpuState, Frame},
};

#[inline(always)]
fn enter(sk: u64, skb: u64, fastopen: bool, frame: Frame) {
    let Some(state) = state() else { return };
    if fastopen {
        state.open_fastopen(frame);
        return;
    }
    if let Some((cells, before)) = readable(cells_of(state, Sock(sk))) {
        state.request.open(frame, sk, skb, cells.0, [before]);
    }
}

#[inline(always)]
fn cells_of(state: &mut CpuState, sk: Sock) -> Result<(Cells, u64), Fault> {
    let cells = Cells::linux(state, sk.net()?)?;
    Ok((cells, cells.embryonic()?))
}

#[inline(always)]
fn leave(frame: Frame) {
    let Some(state) = state() else { return };
    if state.close_fastopen(frame) || !state.request.close(frame) {
        return;
    }
    let Some(after) = readable(Cells(state.request.cells).embryonic()) else { return };
    let moved = after.wrapping_sub(state.request.before[0]);
    if moved != 0
        && let Some(key) = readable(Sock(state.request.sk).listener_key())
        && let Some(account) = Account::open(&key)
    {
        account.add(Cell::EmbryonicRsts, moved);
    }
}

#[kprobe]
fn tcp_check_req(ctx: ProbeContext) -> u32 {
    // A bool is passed in the low byte of its register.
    let fastopen = arg(&ctx, 3) & 0xff != 0;
    enter(arg(&ctx, 0), arg(&ctx, 1), fastopen, entry_frame(&ctx));
    0
}

#[kretprobe]
fn tcp_check_req_return(ctx: RetProbeContext) -> u32 {
    leave(return_frame(&ctx));
    0
}
