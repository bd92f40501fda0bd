//! net/ipv4/tcp_ipv4.c `tcp_v4_syn_recv_sock(sk, skb, req, dst, req_unhash, own_req, ..)` and its IPv6 twin: a handshake
//! is complete, the listener makes the connection's socket or drops the ACK.
//!
//! `req_unhash` is NULL for a cookie's ACK, and for a Fast Open SYN, which `tcp_conn_request` tries as a whole handshake
//! first: one that is dropped here goes on as an ordinary SYN, so that nobody believes to be connected. IPv4 on a
//! dual-stack listener passes through both functions, the outer of which counts nothing itself: the slot they share is
//! charged once. They run with bottom halves off. `own_req` points to
//! whether the socket is the one for its request; if so it enters the accept queue next.

use netqueue_common::{Cell, NO_REASON};

use super::call::{Entry, Return, entry, leaving};
use crate::{
    account::{Facts, observe, report},
    kernel::{Fault, Packet, Peer, Sock, layout},
    ledger,
    maps::{Account, state},
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
    let cells = Cells::linux(state, Sock(sk).net()?)?;
    state.ack.open(call.frame(), sk, skb, cells.0, cells.listen()?);
    state.ack.mark = u64::from(req_unhash == 0);
    state.own_request = own_request;
    Ok(())
}

#[inline(always)]
fn leave(call: &impl Return) -> Result<(), Fault> {
    let state = state()?;
    let child = call.ret_via(layout!(syn_recv_sock_parameters), &mut state.place);
    if !state.ack.close(call.frame()) {
        return Ok(());
    }
    let after = Cells(state.ack.cells).listen()?;
    let before = state.ack.before;
    if after == before {
        if child == 0 {
            return Ok(());
        }
        // Of two nested calls the outer one tells.
        if !state.ack.is_open() {
            traffic::entered(state, child)?;
        }
        return ledger::completed(&mut state.flow, Sock(state.ack.sk), state.ack.skb);
    }
    state.ack.before = after;
    charge(state, after[0].wrapping_sub(before[0]), after[1].wrapping_sub(before[1]))
}

#[inline(always)]
fn charge(state: &mut CpuState, overflows: u64, drops: u64) -> Result<(), Fault> {
    let fast_open =
        state.syn.is_open() && state.syn.skb == state.ack.skb && state.syn.cells == state.ack.cells;
    if fast_open {
        // What is charged here is not charged to the call around it again.
        state.syn.before[0] = state.syn.before[0].wrapping_add(overflows);
        state.syn.before[1] = state.syn.before[1].wrapping_add(drops);
    }
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
