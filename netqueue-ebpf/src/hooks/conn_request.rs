//! net/ipv4/tcp_ipv4.c `tcp_v4_conn_request(sk, skb)` and its kin: a SYN reached a listener.
//! Its kin are the IPv6 twin, and net/mptcp/subflow.c `subflow_v4_conn_request` and
//! `subflow_v6_conn_request`.
//!
//! The functions drop a SYN to a broadcast, multicast or anycast address themselves and pass every other to
//! `tcp_conn_request`, mostly by a jump. They always return 0 and free the SYN alike whether it was kept,
//! answered with a cookie or dropped: only the counters distinguish these cases. IPv4 on a dual-stack
//! listener passes through both twins. The functions run with bottom halves off.
//!
//! Each drop is one `tcp_listendrop(sk)`, which raises the listener's own `sk_drops` as well; each cookie is
//! made by `cookie_v4_init_sequence` or its twin; and none of the other counters moves without one of the
//! two. So the return of a SYN that was kept reads no counter.

use core::hint::cold_path;

use aya_ebpf::programs::{FExitContext, ProbeContext, RetProbeContext};
use netqueue_common::{CounterId, ListenerKey, NO_REASON};

use super::{
    call::{Entry, Return as _, entry, leaving, probed},
    trampoline::Traced,
};
use crate::{
    emit::{EventFields, rate_limit, send},
    inflight::{CpuState, ListenerCache, Marks},
    maps::{CounterHandle, state},
    mib_baseline::{Call, delta},
    mib_values::{MibPtr, MibValues},
    packet::Packet,
    peer::Peer,
    read::Fault,
    slots,
    sock::Sock,
    traffic,
};

#[inline(always)]
fn enter(call: &ProbeContext) -> Result<(), Fault> {
    let state = state();
    let (sk, skb) = (call.arg(0).unwrap_or(0), call.arg(1).unwrap_or(0));
    let cells = call.cells(state, sk)?;
    state.syn.open(call.frame(), sk, skb, cells.0, [cells.drops()?]);
    Ok(())
}

#[inline(always)]
fn leave(call: &RetProbeContext) -> Result<(), Fault> {
    let state = state();
    if !state.syn.close(call.frame()) {
        return Ok(());
    }
    let [before] = state.syn.before;
    if MibPtr(state.syn.cells).drops()? == before && state.cookie_made == 0 {
        return Ok(());
    }
    cold_path();
    look(state)
}

/// Reads the counters for a call that dropped its SYN or sent a cookie, and charges the difference.
#[inline(never)]
fn look(state: &mut CpuState) -> Result<(), Fault> {
    let (sk, skb, cells, [before]) = (state.syn.sk, state.syn.skb, MibPtr(state.syn.cells), state.syn.before);
    let Marks { unproven, cookie_made } = state.take_marks();
    let call = Call { drops_before: Some(before), cookie_made, ..Call::PACKET };
    let delta = delta(&mut state.delta, cells, call)?;
    charge(state, sk, skb, delta, unproven)
}

#[inline(always)]
fn leave_traced(call: &FExitContext) -> Result<(), Fault> {
    let (state, call) = (state(), Traced::new(call));
    let listener = call.listener();
    // Read before the counters: a drop meanwhile, on another CPU, is a reason to read them again.
    let drops = listener.drops();
    let cached = &state.listener_cache[ListenerCache::index(listener.0)];
    if cached.drops == drops && state.cookie_made == 0 && slots::is_fresh(cached, listener.0) {
        return Ok(());
    }
    cold_path();
    look_traced(state, call, drops)
}

/// Reads the counters where the listener may have dropped packets, or this call sent a cookie.
/// `drops` is the listener's number of drops, some of which may be new since this CPU last read the counters.
#[inline(never)]
fn look_traced(state: &mut CpuState, call: Traced, drops: u64) -> Result<(), Fault> {
    let sk = call.arg_via(0, &mut state.scratch);
    let cached = &mut state.listener_cache[ListenerCache::index(sk)];
    if cached.drops == drops && state.cookie_made == 0 && slots::holds(cached, sk) {
        return Ok(());
    }
    let cells = call.cells(state)?;
    let Marks { unproven, cookie_made } = state.take_marks();
    let delta = delta(&mut state.delta, cells, Call { cookie_made, ..Call::PACKET })?;
    traffic::looked(state, Sock(sk), drops)?;
    if delta.is_nothing() {
        return Ok(());
    }
    let skb = call.arg_via(1, &mut state.scratch);
    charge(state, sk, skb, delta, unproven)
}

#[inline(always)]
fn charge(state: &mut CpuState, sk: u64, skb: u64, delta: MibValues, unproven: bool) -> Result<(), Fault> {
    let (MibValues { overflows, drops, do_cookies, full, sent }, sk) = (delta, Sock(sk));
    let rest = if unproven { CounterId::DropSynBacklogReserve } else { CounterId::DropOtherSyn };
    let slot = traffic::slot_of(state, sk)?;
    let account = CounterHandle::at(slot);
    account.add(CounterId::ListenOverflows, overflows);
    account.add(CounterId::ListenDrops, drops);
    account.add(CounterId::ReqQFullDoCookies, do_cookies);
    account.add(CounterId::ReqQFullDrop, full);
    account.add(CounterId::SyncookiesSent, sent);
    account.add(CounterId::DropAcceptQueueFullSyn, overflows);
    account.add(CounterId::DropSynQueueFull, full);
    account.add(rest, drops.saturating_sub(overflows).saturating_sub(full));
    if drops == 0 {
        return Ok(());
    }
    let now = rate_limit(account);
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
        CounterId::DropAcceptQueueFullSyn
    } else if full != 0 {
        CounterId::DropSynQueueFull
    } else {
        if unproven && let Ok(net) = sk.net() {
            queues.syn_limit = net.syn_reserve_limit();
        }
        rest
    };
    let peer = Packet(skb).source().unwrap_or(Peer::UNKNOWN);
    send(
        state,
        &key,
        &EventFields { code: cell as u32, account, local_port, peer, queues, reason: NO_REASON, age: 0 },
        now,
    );
    Ok(())
}

/// net/ipv4/syncookies.c `cookie_v4_init_sequence(skb, mss)`: a cookie is made for a SYN.
/// The IPv6 twin is in net/ipv6/syncookies.c.
#[inline(always)]
fn cookie_made(_call: &impl Entry) -> Result<(), Fault> {
    state().cookie_made = 1;
    Ok(())
}

probed!(enter; nq_tcp_v4_conn_request);
leaving!(leave, leave_traced; nq_tcp_v4_conn_request_return, nq_tcp_v4_conn_request_fexit);
probed!(enter; nq_tcp_v6_conn_request);
leaving!(leave, leave_traced; nq_tcp_v6_conn_request_return, nq_tcp_v6_conn_request_fexit);
probed!(enter; nq_subflow_v4_conn_request);
leaving!(leave, leave_traced; nq_subflow_v4_conn_request_return, nq_subflow_v4_conn_request_fexit);
probed!(enter; nq_subflow_v6_conn_request);
leaving!(leave, leave_traced; nq_subflow_v6_conn_request_return, nq_subflow_v6_conn_request_fexit);
entry!(cookie_made; nq_cookie_v4_init_sequence, nq_cookie_v4_init_sequence_fentry);
entry!(cookie_made; nq_cookie_v6_init_sequence, nq_cookie_v6_init_sequence_fentry);
