//! net/ipv4/syncookies.c `cookie_v4_check(sk, skb)` and net/ipv6/syncookies.c `cookie_v6_check(sk, skb)`: an ACK that
//! belongs to no request reached a listener, perhaps with a cookie.
//!
//! SyncookiesRecv or SyncookiesFailed moves. It runs with bottom halves off, and for everything but a SYN: a client's reset
//! that no request is there for passes through here, too, before it is discarded.

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
fn enter(sk: u64, skb: u64, frame: Frame) -> Result<(), Fault> {
    let state = state()?;
    let cells = Cells::linux(state, Sock(sk).net()?)?;
    state.cookie.open(frame, sk, skb, cells.0, cells.cookies_returned()?);
    ledger::hung_up(&mut state.flow, Sock(sk), skb)
}

#[inline(always)]
fn leave(frame: Frame) -> Result<(), Fault> {
    let state = state()?;
    if !state.cookie.close(frame) {
        return Ok(());
    }
    let after = Cells(state.cookie.cells).cookies_returned()?;
    let before = state.cookie.before;
    if after == before {
        return Ok(());
    }
    let mut key = Sock(state.cookie.sk).listener_key()?;
    let account = Account::open(&mut key);
    account.add(Cell::SyncookiesReceived, after[0].wrapping_sub(before[0]));
    account.add(Cell::SyncookiesFailed, after[1].wrapping_sub(before[1]));
    Ok(())
}

#[kprobe]
fn cookie_v4_check(ctx: ProbeContext) -> u32 {
    observe(enter(arg(&ctx, 0), arg(&ctx, 1), entry_frame(&ctx)))
}

#[kretprobe]
fn cookie_v4_check_return(ctx: RetProbeContext) -> u32 {
    observe(leave(return_frame(&ctx)))
}

#[kprobe]
fn cookie_v6_check(ctx: ProbeContext) -> u32 {
    observe(enter(arg(&ctx, 0), arg(&ctx, 1), entry_frame(&ctx)))
}

#[kretprobe]
fn cookie_v6_check_return(ctx: RetProbeContext) -> u32 {
    observe(leave(return_frame(&ctx)))
}
