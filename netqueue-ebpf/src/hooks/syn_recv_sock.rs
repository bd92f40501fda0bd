//! net/ipv4/tcp_ipv4.c `tcp_v4_syn_recv_sock(sk, skb, req, dst, req_unhash, own_req, ..)`.
//! A handshake is complete: the listener makes the connection's socket or drops the ACK. There is an IPv6
//! twin.
//!
//! `req_unhash` is NULL for a cookie's ACK, and for a Fast Open SYN, which `tcp_conn_request` tries as a
//! whole handshake first: one that is dropped here goes on as an ordinary SYN, so that no client considers
//! itself connected. IPv4 on a dual-stack listener passes through both functions, the outer of which counts
//! nothing itself. The functions run with bottom halves off. A socket that is not the one for its request
//! (another CPU was faster with the same ACK) is closed when it is returned; any other enters the accept
//! queue next.

use core::hint::cold_path;

use aya_ebpf::programs::{FExitContext, ProbeContext, RetProbeContext};
use netqueue_common::{CounterId, NO_REASON};

use super::{
    call::{Entry as _, Return as _, leaving, probed},
    trampoline::Traced,
};
use crate::{
    dropped_ack,
    emit::{EventFields, observe, report},
    inflight::{CpuState, Overflowed},
    maps::{CounterHandle, state},
    mib_baseline::{Call, delta},
    mib_values::{MibPtr, MibValues},
    packet::Packet,
    peer::Peer,
    read::Fault,
    sock::{Sock, tcp_state},
    traffic,
};

#[inline(always)]
fn enter(call: &ProbeContext) -> Result<(), Fault> {
    let argument = |n| call.arg(n).unwrap_or(0_u64);
    let (state, sk, skb, req_unhash) = (state(), argument(0), argument(1), argument(4));
    state.ack.open(call.frame(), sk, skb, 0, []);
    state.ack.mark = u64::from(req_unhash == 0);
    Ok(())
}

/// Notes that a connection was made, or charges the dropped ACK.
/// In every kernel it is one or the other.
#[inline(always)]
fn leave(call: &RetProbeContext) -> Result<(), Fault> {
    let (state, child): (_, u64) = (state(), call.ret());
    if !state.ack.close(call.frame()) {
        return Ok(());
    }
    if child == 0 {
        cold_path();
        return dropped(state);
    }
    let sk = Sock(state.ack.sk);
    // Of two nested calls, the outer one counts the connection.
    if !state.ack.is_open() && Sock(child).state() != tcp_state::CLOSE {
        traffic::entered(state, sk, || child, || sk.accept_length())?;
    }
    if !dropped_ack::remembering() {
        return Ok(());
    }
    cold_path();
    completed()
}

#[inline(never)]
fn completed() -> Result<(), Fault> {
    let state = state();
    dropped_ack::completed(&mut state.flow, Sock(state.ack.sk), state.ack.skb)
}

/// Charges the call that was on record, which made no socket.
#[inline(never)]
fn dropped(state: &mut CpuState) -> Result<(), Fault> {
    let (sk, skb, cookie) = (Sock(state.ack.sk), state.ack.skb, state.ack.mark != 0);
    dropped_by(state, sk, skb, cookie)
}

/// Charges a listener that made no socket of this packet.
#[inline(always)]
pub(super) fn dropped_by(state: &mut CpuState, sk: Sock, skb: u64, cookie: bool) -> Result<(), Fault> {
    let cells = MibPtr::linux(state, sk.net()?)?;
    charge(state, sk, skb, cookie, cells)
}

#[inline(always)]
fn leave_traced(call: &FExitContext) -> Result<(), Fault> {
    let (state, call) = (state(), Traced::new(call));
    let child = call.returned_sock();
    if child.0 == 0 {
        cold_path();
        return dropped_traced(state, call);
    }
    if child.state() != tcp_state::CLOSE {
        let listener = call.listener();
        traffic::entered(
            state,
            Sock(listener.0),
            // Loaded once more, both: a load is cheaper than a register that is kept.
            || call.returned_sock().0,
            || Ok(call.listener().accept_length()),
        )?;
    }
    if !dropped_ack::remembering() {
        return Ok(());
    }
    cold_path();
    completed_traced(call)
}

#[inline(never)]
fn dropped_traced(state: &mut CpuState, call: Traced) -> Result<(), Fault> {
    let sk = Sock(call.arg_via(0, &mut state.scratch));
    let skb = call.arg_via(1, &mut state.scratch);
    let req_unhash = call.arg_via(4, &mut state.scratch);
    let cells = call.cells(state)?;
    charge(state, sk, skb, req_unhash == 0, cells)
}

#[inline(never)]
fn completed_traced(call: Traced) -> Result<(), Fault> {
    let state = state();
    let sk = Sock(call.arg_via(0, &mut state.scratch));
    let skb = call.arg_via(1, &mut state.scratch);
    dropped_ack::completed(&mut state.flow, sk, skb)
}

/// Handles the return of the IPv6 twin; of IPv4 packets, the inner call does that.
#[inline(always)]
fn leave_traced_v6(call: &FExitContext) -> Result<(), Fault> {
    if Traced::new(call).is_of_ipv4() { Ok(()) } else { leave_traced(call) }
}

#[inline(always)]
fn charge(state: &mut CpuState, sk: Sock, skb: u64, cookie: bool, cells: MibPtr) -> Result<(), Fault> {
    // No drop if another CPU made the socket, or if the inner call for the same packet has charged it.
    let MibValues { overflows, drops, .. } = delta(&mut state.delta, cells, Call::PACKET)?;
    if drops == 0 {
        return Ok(());
    }
    state.overflowed = if overflows != 0 { Overflowed::by(Packet(skb)) } else { Overflowed::NONE };
    // A Fast Open SYN that is tried as a whole handshake: no other SYN comes here.
    let fast_open = cookie && Packet(skb).is_syn()?;
    let mut key = sk.listener_key()?;
    let local_port = key.port;
    let (full, rest) = if fast_open {
        (CounterId::DropAcceptQueueFullSyn, CounterId::DropOtherSyn)
    } else if cookie {
        (CounterId::DropAcceptQueueFullCookieAck, CounterId::DropOtherCookieAck)
    } else {
        (CounterId::DropAcceptQueueFullAck, CounterId::DropOtherAck)
    };
    let account = CounterHandle::open(&mut key);
    account.add(CounterId::ListenOverflows, overflows);
    account.add(CounterId::ListenDrops, drops);
    account.add(full, overflows);
    account.add(rest, drops.saturating_sub(overflows));
    if !fast_open {
        // A failed read here is counted, and the handshake not remembered; the drop is charged all the same.
        observe(dropped_ack::remember(&mut state.flow, sk, skb, cookie, account));
    }
    let cell = if overflows != 0 { full } else { rest };
    let peer = Packet(skb).source().unwrap_or(Peer::UNKNOWN);
    let code = cell as u32;
    report(
        state,
        &key,
        &EventFields { code, account, local_port, peer, queues: sk.queues(), reason: NO_REASON, age: 0 },
    );
    Ok(())
}

probed!(enter; nq_tcp_v4_syn_recv_sock);
leaving!(leave, leave_traced; nq_tcp_v4_syn_recv_sock_return, nq_tcp_v4_syn_recv_sock_fexit);
probed!(enter; nq_tcp_v6_syn_recv_sock);
leaving!(leave, leave_traced_v6; nq_tcp_v6_syn_recv_sock_return, nq_tcp_v6_syn_recv_sock_fexit);
