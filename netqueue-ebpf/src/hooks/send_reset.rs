//! net/ipv4/tcp_ipv4.c `tcp_v4_send_reset(sk, skb[, reason])` and its IPv6 twin: a packet may be answered with a reset.
//!
//! Entering is not sending: a reset is never answered, a foreign destination neither. OutRsts moves when one is sent, and
//! only then is it charged. `sk` may be NULL, a listener, a time-wait socket or a connection. The function may run in
//! process context (a socket's backlog), where a softirq's call can come on top: that one takes the second slot, and what
//! it charges is not charged to the outer call again.

use aya_ebpf::{
    macros::{kprobe, kretprobe},
    programs::{ProbeContext, RetProbeContext},
};
use netqueue_common::{Cell, KernelLayout, ListenerKey, NO_REASON, Tally};

use super::{arg, entry_frame, return_frame};
use crate::{
    account::{Facts, observe, report},
    kernel::{Fault, Net, Packet, Peer, Queues, Sock, layout, monotonic_now, tcp_state},
    ledger,
    maps::{Account, state, tally},
    mib::Cells,
    scope::{CpuState, Frame},
};

/// What the entry knows and the return reports, packed into the scope's mark.
struct Verdict {
    cell: Cell,
    reason: u32,
    /// The socket is a listener.
    listening: bool,
}

impl Verdict {
    #[inline(always)]
    fn pack(&self) -> u64 {
        u64::from(self.reason) << 32 | u64::from(self.listening) << 8 | self.cell as u64
    }
}

#[inline(always)]
fn enter(sk: u64, skb: u64, reason: u32, frame: Frame) -> Result<(), Fault> {
    let state = state()?;
    let cells = Cells::tcp(state, net_of(sk, skb)?)?;
    let before = cells.resets()?;
    let mark = verdict(state, sk, skb, reason).pack();
    let nested = usize::from(state.reset[0].is_open() && !state.reset[0].holds(frame));
    let scope = if nested == 0 { &mut state.reset[0] } else { &mut state.reset[1] };
    scope.forget();
    scope.open(frame, sk, skb, cells.0, [before]);
    scope.mark = mark;
    Ok(())
}

#[inline(always)]
fn net_of(sk: u64, skb: u64) -> Result<Net, Fault> {
    if sk == 0 { Packet(skb).net() } else { Sock(sk).net() }
}

#[inline(always)]
fn verdict(state: &CpuState, sk: u64, skb: u64, reason: u32) -> Verdict {
    let socket_state = if sk == 0 { 0 } else { Sock(sk).state().unwrap_or(0) };
    let of_a_handshake = state.request.is_open() && state.request.skb == skb;
    let cell = match socket_state {
        _ if of_a_handshake && state.request.mark != 0 => Cell::ResetOverflowAbort,
        _ if of_a_handshake => Cell::ResetHandshakeAborted,
        _ if sk == 0 => Cell::ResetNoListener,
        tcp_state::LISTEN => Cell::ResetUnknownConnection,
        // The connection a Fast Open SYN made, before its handshake is complete.
        tcp_state::SYN_RECV => Cell::ResetHandshakeAborted,
        tcp_state::TIME_WAIT | tcp_state::CLOSE => Cell::ResetAfterClose,
        _ => Cell::ResetOther,
    };
    Verdict { cell, reason, listening: socket_state == tcp_state::LISTEN }
}

#[inline(always)]
fn leave(frame: Frame) -> Result<(), Fault> {
    let state = state()?;
    let nested = usize::from(!state.reset[0].holds(frame) && state.reset[1].holds(frame));
    let scope = if nested == 0 { &mut state.reset[0] } else { &mut state.reset[1] };
    if !scope.close(frame) {
        return Ok(());
    }
    let (sk, skb, cells, before, mark) = (scope.sk, scope.skb, scope.cells, scope.before[0], scope.mark);
    let sent = Cells(cells).resets()?.wrapping_sub(before);
    if sent == 0 {
        return Ok(());
    }
    if nested != 0 && state.reset[0].is_open() && state.reset[0].cells == cells {
        state.reset[0].before[0] = state.reset[0].before[0].wrapping_add(sent);
    }
    charge(state, sk, skb, sent, mark)
}

#[inline(always)]
fn charge(state: &mut CpuState, sk: u64, skb: u64, sent: u64, mark: u64) -> Result<(), Fault> {
    let listening = mark & 0x100 != 0;
    let local = local_key(sk, skb, listening)?;
    let mut key = if listening { local } else { net_of(sk, skb)?.without_ephemeral_port(local)? };
    let queues = if listening { Sock(sk).queues() } else { Queues::UNKNOWN };
    let mut code = (mark & 0xff) as u32;
    let mut age = 0;
    let account = Account::open(&mut key);
    if code == Cell::ResetUnknownConnection as u32
        && let Some(suspect) = ledger::recall(&mut state.flow, Sock(sk), skb)?
    {
        code = Cell::ResetExpiredHandshake as u32;
        age = monotonic_now().wrapping_sub(suspect.since);
        ledger::expired(suspect, account);
    }
    account.add(Cell::OutRsts, sent);
    account.add_code(code, sent);
    if sent > 1 {
        // One call sends one reset; more means that another's was seen inside this one without its own return.
        tally(Tally::ReturnMissed);
    }
    let peer = Packet(skb).source().unwrap_or(Peer::UNKNOWN);
    report(
        state,
        &key,
        &Facts { code, account, local_port: local.port, peer, queues, reason: (mark >> 32) as u32, age },
    );
    Ok(())
}

#[inline(always)]
fn local_key(sk: u64, skb: u64, listening: bool) -> Result<ListenerKey, Fault> {
    if listening { Sock(sk).listener_key() } else { Packet(skb).destination_key(net_of(sk, skb)?) }
}

#[inline(always)]
fn reason(ctx: &ProbeContext) -> u32 {
    if layout!(reset_reason_arg) == KernelLayout::ABSENT { NO_REASON } else { arg(ctx, 2) as u32 }
}

#[kprobe]
fn tcp_v4_send_reset(ctx: ProbeContext) -> u32 {
    observe(enter(arg(&ctx, 0), arg(&ctx, 1), reason(&ctx), entry_frame(&ctx)))
}

#[kretprobe]
fn tcp_v4_send_reset_return(ctx: RetProbeContext) -> u32 {
    observe(leave(return_frame(&ctx)))
}

#[kprobe]
fn tcp_v6_send_reset(ctx: ProbeContext) -> u32 {
    observe(enter(arg(&ctx, 0), arg(&ctx, 1), reason(&ctx), entry_frame(&ctx)))
}

#[kretprobe]
fn tcp_v6_send_reset_return(ctx: RetProbeContext) -> u32 {
    observe(leave(return_frame(&ctx)))
}
