//! net/ipv4/tcp_ipv4.c `tcp_req_err(req, seq, abort)`: an ICMP error names a pending request.
//!
//! If it is fatal and quotes the SYN-ACK, the request is dropped and its listener's ListenDrops moves. It runs with bottom
//! halves off.

use aya_ebpf::{
    macros::{kprobe, kretprobe},
    programs::{ProbeContext, RetProbeContext},
};
use netqueue_common::{Cell, NO_REASON};

use super::{arg, entry_frame, return_frame};
use crate::{
    account::{Facts, observe, report},
    kernel::{Fault, Peer, Sock},
    maps::{Account, state},
    mib::Cells,
    scope::Frame,
};

#[inline(always)]
fn enter(request: u64, frame: Frame) -> Result<(), Fault> {
    let state = state()?;
    let listener = Sock(request).listener()?;
    let cells = Cells::linux(state, Sock(request).net()?)?;
    state.icmp.open(frame, listener.0, request, cells.0, [cells.drops()?]);
    // Read now: at the return the request may be gone.
    state.icmp_peer = Sock(request).peer().unwrap_or(Peer::UNKNOWN);
    Ok(())
}

#[inline(always)]
fn leave(frame: Frame) -> Result<(), Fault> {
    let state = state()?;
    if !state.icmp.close(frame) {
        return Ok(());
    }
    let drops = Cells(state.icmp.cells).drops()?.wrapping_sub(state.icmp.before[0]);
    if drops == 0 {
        return Ok(());
    }
    let (sk, peer) = (Sock(state.icmp.sk), state.icmp_peer);
    let mut key = sk.listener_key()?;
    let local_port = key.port;
    let account = Account::open(&mut key);
    account.add(Cell::ListenDrops, drops);
    account.add(Cell::DropOtherAck, drops);
    let code = Cell::DropOtherAck as u32;
    report(
        state,
        &key,
        &Facts { code, account, local_port, peer, queues: sk.queues(), reason: NO_REASON, age: 0 },
    );
    Ok(())
}

#[kprobe]
fn tcp_req_err(ctx: ProbeContext) -> u32 {
    observe(enter(arg(&ctx, 0), entry_frame(&ctx)))
}

#[kretprobe]
fn tcp_req_err_return(ctx: RetProbeContext) -> u32 {
    observe(leave(return_frame(&ctx)))
}
