//! net/ipv4/tcp_ipv4.c `tcp_v4_send_reset(sk, skb[, reason])` and its IPv6 twin: a packet may be answered with a reset.
//!
//! Entering is not sending: a reset is never answered, a foreign destination neither. OutRsts moves when one is sent, and
//! only then is it charged. `sk` may be NULL, a listener, a time-wait socket or a connection. The function may run in
//! process context (a socket's backlog), where a softirq's call can come on top, also while a program of the outer call
//! runs: that one takes the second slot, and notes in the first what it charges, so that it is not charged to the outer
//! call again.

use core::hint::black_box;

use netqueue_common::{Cell, KernelLayout, ListenerKey, NO_REASON, Tally};

use super::{
    call::{Entry, Return, entry, leaving},
    trampoline::Function,
};
use crate::{
    account::{Facts, report},
    kernel::{Fault, Net, Queues, Sock, is_within, monotonic_now, tcp_state, volatile},
    layout::layout,
    ledger,
    maps::{Account, state, tally},
    mib::Cells,
    packet::{Packet, Peer},
    scope::{CpuState, Scope},
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
fn enter_v4(call: &impl Entry) -> Result<(), Fault> {
    enter(call, Function { code: layout!(code_of_v4_send_reset), parameters: parameters() })
}

#[inline(always)]
fn enter_v6(call: &impl Entry) -> Result<(), Fault> {
    enter(call, Function { code: layout!(code_of_v6_send_reset), parameters: parameters() })
}

/// Of both; the reason came as the third.
#[inline(always)]
fn parameters() -> usize {
    if layout!(reset_reason_arg) == KernelLayout::ABSENT { 2 } else { 3 }
}

#[inline(always)]
fn enter(call: &impl Entry, own: Function) -> Result<(), Fault> {
    let (state, frame) = (state(), call.frame());
    let (sk, skb) = (call.arg(0), call.arg(1));
    let cells = Cells::tcp(state, net_of(sk, skb)?)?;
    let verdict = verdict(state, call, [sk, skb], own);
    let mark = verdict.pack();
    // Open before the cell is read: what is sent on top of this program from here on is noted.
    if state.reset[0].is_open() && !state.reset[0].holds(frame) {
        open(&mut state.reset[1], call, [sk, skb], cells, mark);
        state.reset[1].before = [cells.resets()?];
    } else {
        open(&mut state.reset[0], call, [sk, skb], cells, mark);
        state.reset[0].before = [not_on_top(state, cells)?];
    }
    Ok(())
}

#[inline(always)]
fn open(scope: &mut Scope<1>, call: &impl Entry, of: [u64; 2], cells: Cells, mark: u64) {
    scope.forget();
    scope.open(call.frame(), of[0], of[1], cells.0, [0]);
    scope.mark = mark;
}

/// OutRsts, less what was sent on top of the call in the first slot. A softirq may come between two reads.
#[inline(always)]
fn not_on_top(state: &CpuState, cells: Cells) -> Result<u64, Fault> {
    const TRIES: usize = 4;
    let mut value = 0;
    for _ in 0..TRIES {
        let on_top = volatile(&state.sent_on_top);
        value = cells.resets()?.wrapping_sub(on_top);
        if volatile(&state.sent_on_top) == on_top {
            break;
        }
    }
    Ok(value)
}

#[inline(always)]
fn reason(call: &impl Entry) -> u32 {
    if layout!(reset_reason_arg) == KernelLayout::ABSENT {
        NO_REASON
    } else {
        black_box(call.number(2)) as u32
    }
}

#[inline(always)]
fn net_of(sk: u64, skb: u64) -> Result<Net, Fault> {
    if sk == 0 { Packet(skb).net() } else { Sock(sk).net() }
}

#[inline(always)]
fn verdict(state: &mut CpuState, call: &impl Entry, [sk, skb]: [u64; 2], own: Function) -> Verdict {
    let socket_state = if sk == 0 { 0 } else { Sock(sk).state().unwrap_or(0) };
    let listening = socket_state == tcp_state::LISTEN;
    let of_a_handshake = listening && is_of_a_handshake(call.caller(own).unwrap_or(0));
    if of_a_handshake {
        state.answered = sk;
    }
    let cell = match socket_state {
        _ if of_a_handshake && state.overflowed == skb => Cell::ResetOverflowAbort,
        _ if of_a_handshake => Cell::ResetHandshakeAborted,
        _ if sk == 0 => Cell::ResetNoListener,
        tcp_state::LISTEN => Cell::ResetUnknownConnection,
        // The connection a Fast Open SYN made, before its handshake is complete.
        tcp_state::SYN_RECV => Cell::ResetHandshakeAborted,
        tcp_state::TIME_WAIT | tcp_state::CLOSE => Cell::ResetAfterClose,
        _ => Cell::ResetOther,
    };
    Verdict { cell, reason: reason(call), listening }
}

/// Whether it is called by who serves a pending request, or, of Multipath TCP, a connection that joins another.
#[inline(always)]
fn is_of_a_handshake(caller: u64) -> bool {
    is_within(caller, layout!(code_of_check_req)) || is_within(caller, layout!(code_of_subflow_syn_recv_sock))
}

#[inline(always)]
fn leave(call: &impl Return) -> Result<(), Fault> {
    let (state, frame) = (state(), call.frame());
    let nested = !state.reset[0].holds(frame) && state.reset[1].holds(frame);
    let scope = if nested { &state.reset[1] } else { &state.reset[0] };
    let (sk, skb, cells, before, mark) =
        (scope.sk, scope.skb, Cells(scope.cells), scope.before[0], scope.mark);
    // Read before the slot is closed: what is sent on top of this program until then is noted.
    let after = if !scope.holds(frame) {
        before
    } else if nested {
        cells.resets()?
    } else {
        not_on_top(state, cells)?
    };
    let scope = if nested { &mut state.reset[1] } else { &mut state.reset[0] };
    if !scope.close(frame) || after == before {
        return Ok(());
    }
    let sent = after.wrapping_sub(before);
    if nested {
        state.note_sent_on_top(cells.0, sent);
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

entry!(enter_v4; tcp_v4_send_reset, tcp_v4_send_reset_fentry);
leaving!(leave; tcp_v4_send_reset_return, tcp_v4_send_reset_fexit);
entry!(enter_v6; tcp_v6_send_reset, tcp_v6_send_reset_fentry);
leaving!(leave; tcp_v6_send_reset_return, tcp_v6_send_reset_fexit);
