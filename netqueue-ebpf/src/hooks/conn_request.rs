//! net/ipv4/tcp_ipv4.c `tcp_v4_conn_request(sk, skb)`, its IPv6 twin, and net/mptcp/subflow.c `subflow_v4_conn_request` and
//! `subflow_v6_conn_request`: a SYN reached a listener.
//!
//! They drop a SYN to a broadcast, multicast or anycast address themselves and pass every other to `tcp_conn_request`,
//! mostly by a jump. They always return 0 and free the SYN alike whether it was kept, answered with a cookie or dropped:
//! only the counters tell. IPv4 on a dual-stack listener passes through both twins, which share one slot. They run with
//! bottom halves off.

use netqueue_common::{Cell, NO_REASON};

use super::call::{Entry, Return, entry, leaving};
use crate::{
    account::{Facts, report},
    kernel::{Fault, Packet, Peer, Sock},
    maps::{Account, state},
    mib::Cells,
    scope::CpuState,
};

#[inline(always)]
fn enter(call: &impl Entry) -> Result<(), Fault> {
    let state = state()?;
    let sk = call.arg_via(0, &mut state.place);
    let skb = call.arg_via(1, &mut state.place);
    let cells = Cells::linux(state, Sock(sk).net()?)?;
    state.syn.open(call.frame(), sk, skb, cells.0, values(cells)?);
    Ok(())
}

#[inline(always)]
fn values(cells: Cells) -> Result<[u64; 5], Fault> {
    let [overflows, drops] = cells.listen()?;
    let [cookies, full] = cells.syn_queue()?;
    Ok([overflows, drops, cookies, full, cells.cookies_sent()?])
}

#[inline(always)]
fn leave(call: &impl Return) -> Result<(), Fault> {
    let state = state()?;
    if !state.syn.close(call.frame()) {
        return Ok(());
    }
    let after = values(Cells(state.syn.cells))?;
    if after == state.syn.before {
        return Ok(());
    }
    let before = state.syn.before;
    // The outer call of the same packet finds nothing moved.
    state.syn.before = after;
    charge(state, before, after)
}

#[inline(always)]
fn charge(state: &mut CpuState, before: [u64; 5], after: [u64; 5]) -> Result<(), Fault> {
    let moved = |index: usize| after[index].wrapping_sub(before[index]);
    let (overflows, drops, cookies, full, sent) = (moved(0), moved(1), moved(2), moved(3), moved(4));

    let sk = Sock(state.syn.sk);
    let mut key = sk.listener_key()?;
    let local_port = key.port;
    let unproven = state.syn.mark != 0;
    let rest = if unproven { Cell::DropSynBacklogReserve } else { Cell::DropOtherSyn };
    let account = Account::open(&mut key);
    account.add(Cell::ListenOverflows, overflows);
    account.add(Cell::ListenDrops, drops);
    account.add(Cell::ReqQFullDoCookies, cookies);
    account.add(Cell::ReqQFullDrop, full);
    account.add(Cell::SyncookiesSent, sent);
    account.add(Cell::DropAcceptQueueFullSyn, overflows);
    account.add(Cell::DropSynQueueFull, full);
    account.add(rest, drops.wrapping_sub(overflows).wrapping_sub(full));
    if drops == 0 {
        return Ok(());
    }

    let mut queues = sk.queues();
    let cell = if overflows != 0 {
        Cell::DropAcceptQueueFullSyn
    } else if full != 0 {
        Cell::DropSynQueueFull
    } else {
        if unproven && let Ok(net) = sk.net() {
            queues.syn_limit = net.syn_reserve_limit();
        }
        rest
    };
    let peer = Packet(state.syn.skb).source().unwrap_or(Peer::UNKNOWN);
    report(
        state,
        &key,
        &Facts { code: cell as u32, account, local_port, peer, queues, reason: NO_REASON, age: 0 },
    );
    Ok(())
}

entry!(enter; tcp_v4_conn_request, tcp_v4_conn_request_fentry);
leaving!(leave; tcp_v4_conn_request_return, tcp_v4_conn_request_fexit);
entry!(enter; tcp_v6_conn_request, tcp_v6_conn_request_fentry);
leaving!(leave; tcp_v6_conn_request_return, tcp_v6_conn_request_fexit);
entry!(enter; subflow_v4_conn_request, subflow_v4_conn_request_fentry);
leaving!(leave; subflow_v4_conn_request_return, subflow_v4_conn_request_fexit);
entry!(enter; subflow_v6_conn_request, subflow_v6_conn_request_fentry);
leaving!(leave; subflow_v6_conn_request_return, subflow_v6_conn_request_fexit);
