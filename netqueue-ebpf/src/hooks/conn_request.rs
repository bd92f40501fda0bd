//! net/ipv4/tcp_ipv4.c `tcp_v4_conn_request(sk, skb)`, its IPv6 twin, and net/mptcp/subflow.c `subflow_v4_conn_request` and
//! `subflow_v6_conn_request`: a SYN reached a listener.
//!
//! They drop a SYN to a broadcast, multicast or anycast address themselves and pass every other to `tcp_conn_request`,
//! mostly by a jump. They always return 0 and free the SYN alike whether it was kept, answered with a cookie or dropped:
//! only the counters tell. IPv4 on a dual-stack listener passes through both twins, which share one slot. They run with
//! bottom halves off.

use netqueue_common::{Cell, ListenerKey, NO_REASON};

use super::call::{Entry, Return, entry, leaving};
use crate::{
    account::{Facts, ration, send},
    kernel::{Fault, Packet, Peer, Sock},
    maps::{Account, state},
    mib::Cells,
    scope::CpuState,
    slots, traffic,
};

#[inline(always)]
fn enter(call: &impl Entry) -> Result<(), Fault> {
    let state = state()?;
    let sk = call.arg_via(0, &mut state.place);
    let skb = call.arg_via(1, &mut state.place);
    let cells = call.cells(state, sk)?;
    state.noted.look(cells)?;
    state.syn.open(call.frame(), sk, skb, cells.0, []);
    Ok(())
}

#[inline(always)]
fn leave(call: &impl Return) -> Result<(), Fault> {
    let state = state()?;
    // Another namespace's are noted only where a return was missed, and that is counted.
    if !state.syn.close(call.frame()) || state.noted.cells != state.syn.cells {
        return Ok(());
    }
    let cells = Cells(state.syn.cells);
    let (listen, sent) = (cells.listen()?, cells.cookies_sent()?);
    if listen[1] == state.noted.listen[1] && sent == state.noted.sent {
        return Ok(());
    }
    let queue = cells.syn_queue()?;
    let noted = &mut state.noted;
    let moved = Moved {
        overflows: listen[0].wrapping_sub(noted.listen[0]),
        drops: listen[1].wrapping_sub(noted.listen[1]),
        cookies: queue[0].wrapping_sub(noted.queue[0]),
        full: queue[1].wrapping_sub(noted.queue[1]),
        sent: sent.wrapping_sub(noted.sent),
    };
    // The outer call of the same packet finds nothing moved.
    (noted.listen, noted.queue, noted.sent) = (listen, queue, sent);
    charge(state, &moved)
}

/// What a call moved the counters by.
struct Moved {
    overflows: u64,
    drops: u64,
    cookies: u64,
    full: u64,
    sent: u64,
}

#[inline(always)]
fn charge(state: &mut CpuState, moved: &Moved) -> Result<(), Fault> {
    let &Moved { overflows, drops, cookies, full, sent } = moved;
    let sk = Sock(state.syn.sk);
    let unproven = state.syn.mark != 0;
    let rest = if unproven { Cell::DropSynBacklogReserve } else { Cell::DropOtherSyn };
    let slot = traffic::slot_of(state, sk, state.syn.cells)?;
    let account = Account::at(slot);
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
    let now = ration(account);
    if now == 0 {
        return Ok(());
    }

    let mut key = sk.listener_key()?;
    let local_port = key.port;
    if slots::is_folded(slot) {
        key = ListenerKey::other(key.netns);
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
    send(
        state,
        &key,
        &Facts { code: cell as u32, account, local_port, peer, queues, reason: NO_REASON, age: 0 },
        now,
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
