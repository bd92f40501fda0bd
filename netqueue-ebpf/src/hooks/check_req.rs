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
    account::observe,
    kernel::{Fault, Sock},
    ledger,
    maps::{Account, state},
    mib::Cells,
    scope::Frame,
};

#[inline(always)]
fn enter(sk: u64, skb: u64, fastopen: bool, frame: Frame) -> Result<(), Fault> {
    let state = state()?;
    if fastopen {
        state.open_fastopen(frame);
        return Ok(());
    }
    let cells = Cells::linux(state, Sock(sk).net()?)?;
    state.request.open(frame, sk, skb, cells.0, [cells.embryonic()?]);
    Ok(())
}

#[inline(always)]
fn leave(frame: Frame) -> Result<(), Fault> {
    let state = state()?;
    if state.close_fastopen(frame) || !state.request.close(frame) {
        return Ok(());
    }
    let moved = Cells(state.request.cells).embryonic()?.wrapping_sub(state.request.before[0]);
    if moved == 0 {
        return Ok(());
    }
    let mut key = Sock(state.request.sk).listener_key()?;
    let account = Account::open(&mut key);
    account.add(Cell::EmbryonicRsts, moved);
    ledger::ended(&mut state.flow, Sock(state.request.sk), state.request.skb, account)
}

#[kprobe]
fn tcp_check_req(ctx: ProbeContext) -> u32 {
    // A bool is passed in the low byte of its register.
    let fastopen = arg(&ctx, 3) & 0xff != 0;
    observe(enter(arg(&ctx, 0), arg(&ctx, 1), fastopen, entry_frame(&ctx)))
}

#[kretprobe]
fn tcp_check_req_return(ctx: RetProbeContext) -> u32 {
    observe(leave(return_frame(&ctx)))
}
