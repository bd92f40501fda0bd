//! net/ipv4/tcp_ipv4.c `tcp_v4_syn_recv_sock(sk, skb, req, dst, req_unhash, own_req, ..)` and its IPv6 twin: a handshake
//! is complete, the listener makes the connection's socket or drops the ACK.
//!
//! `req_unhash` is NULL for a cookie's ACK, and for a Fast Open SYN, which `tcp_conn_request` tries as a whole handshake
//! first: one that is dropped here goes on as an ordinary SYN, so that nobody believes to be connected. IPv4 on a
//! dual-stack listener passes through both functions, the outer of which counts nothing itself: the slot they share is
//! charged once. They run with bottom halves off. `own_req` points to
//! whether the socket is the one for its request; if so it enters the accept queue next.

use netqueue_common::{Cell, NO_REASON, Tally};

use super::call::{Entry, Return, entry, leaving};
use crate::{
    account::{Facts, observe, report},
    kernel::{Fault, Packet, Peer, Sock, layout},
    ledger,
    maps::{Account, state, tally},
    mib::Cells,
    scope::CpuState,
    traffic,
};

#[inline(always)]
fn enter(call: &impl Entry) -> Result<(), Fault> {
    let state = state()?;
    let sk = call.arg_via(0, &mut state.place);
    let skb = call.arg_via(1, &mut state.place);
    let req_unhash = call.arg_via(4, &mut state.place);
    // Verifiers before 5.17 do not let pointers to numbers be loaded from there.
    let own_request =
        if layout!(traced_numbers) != 0 { call.arg_via(5, &mut state.place) } else { call.arg(5) };
    let cells = if state.request.is_open() && state.request.skb == skb && state.request.sk == sk {
        // It is called for the packet that tcp_check_req has.
        Cells(state.request.cells)
    } else {
        call.cells(state, sk)?
    };
    note(state, call, cells)?;
    state.ack.open(call.frame(), sk, skb, cells.0, []);
    state.ack.mark = u64::from(req_unhash == 0);
    state.own_request = own_request;
    Ok(())
}

#[inline(always)]
fn note<Call: Entry>(state: &mut CpuState, _call: &Call, cells: Cells) -> Result<(), Fault> {
    state.noted.look_at_drops(cells, Call::CERTAIN)
}

/// A connection was made, or the ACK was dropped: it is one or the other, in every kernel, and a drop moves ListenDrops by
/// one.
#[inline(always)]
fn leave(call: &impl Return) -> Result<(), Fault> {
    let state = state()?;
    let child = call.ret_via(layout!(syn_recv_sock_parameters), &mut state.place);
    if !state.ack.close(call.frame()) {
        return Ok(());
    }
    if child != 0 {
        // Of two nested calls the outer one tells.
        if !state.ack.is_open() {
            traffic::entered(state, child, |listener| call.accept_length(listener))?;
        }
        return ledger::completed(&mut state.flow, Sock(state.ack.sk), state.ack.skb);
    }
    if state.noted.cells != state.ack.cells {
        // Only where a return was missed, and that is counted.
        return Ok(());
    }
    let (before, after) = (state.noted.listen, Cells(state.ack.cells).listen()?);
    // The outer call of the same packet finds nothing moved.
    state.noted.listen = after;
    match after[1].wrapping_sub(before[1]) {
        0 => Ok(()),
        1 => charge(state, after[0].wrapping_sub(before[0]), 1),
        _ => {
            // Others moved them without us: which of them is this one's is not known, and what is not known is not charged.
            state.noted.forget();
            tally(Tally::EntryMissed);
            Ok(())
        }
    }
}

#[inline(always)]
fn charge(state: &mut CpuState, overflows: u64, drops: u64) -> Result<(), Fault> {
    let fast_open =
        state.syn.is_open() && state.syn.skb == state.ack.skb && state.syn.cells == state.ack.cells;
    if state.request.is_open() && state.request.skb == state.ack.skb && overflows != 0 {
        state.request.mark = 1;
    }

    let sk = Sock(state.ack.sk);
    let mut key = sk.listener_key()?;
    let local_port = key.port;
    let (full, rest) = if fast_open {
        (Cell::DropAcceptQueueFullSyn, Cell::DropOtherSyn)
    } else if state.ack.mark != 0 {
        (Cell::DropAcceptQueueFullCookieAck, Cell::DropOtherCookieAck)
    } else {
        (Cell::DropAcceptQueueFullAck, Cell::DropOtherAck)
    };
    let account = Account::open(&mut key);
    account.add(Cell::ListenOverflows, overflows);
    account.add(Cell::ListenDrops, drops);
    account.add(full, overflows);
    account.add(rest, drops.wrapping_sub(overflows));
    if drops != 0 {
        if !fast_open {
            // What cannot be read here is not remembered, and counted; the drop is charged all the same.
            observe(ledger::remember(&mut state.flow, sk, state.ack.skb, state.ack.mark != 0, account));
        }
        let cell = if overflows != 0 { full } else { rest };
        let peer = Packet(state.ack.skb).source().unwrap_or(Peer::UNKNOWN);
        report(
            state,
            &key,
            &Facts {
                code: cell as u32,
                account,
                local_port,
                peer,
                queues: sk.queues(),
                reason: NO_REASON,
                age: 0,
            },
        );
    }
    Ok(())
}

entry!(enter; tcp_v4_syn_recv_sock, tcp_v4_syn_recv_sock_fentry);
leaving!(leave; tcp_v4_syn_recv_sock_return, tcp_v4_syn_recv_sock_fexit);
entry!(enter; tcp_v6_syn_recv_sock, tcp_v6_syn_recv_sock_fentry);
leaving!(leave; tcp_v6_syn_recv_sock_return, tcp_v6_syn_recv_sock_fexit);
