//! net/ipv4/tcp_ipv4.c `tcp_req_err(req, seq, abort)`: an ICMP error names a pending request.
//!
//! If the error is fatal and quotes the SYN-ACK, the request is dropped, and ListenDrops moves on behalf of
//! its listener. The function runs with bottom halves off.

use netqueue_common::{CounterId, NO_REASON};

use super::call::{Entry, Return, entry, leaving};
use crate::{
    emit::{EventFields, report},
    maps::{CounterHandle, state},
    mib_baseline::{Call, delta},
    mib_values::{MibPtr, MibValues},
    read::Fault,
    sock::Sock,
};

#[inline(always)]
fn enter(call: &impl Entry) -> Result<(), Fault> {
    let state = state();
    let request = call.arg(0);
    let listener = Sock(request).listener()?;
    let cells = MibPtr::linux(state, Sock(request).net()?)?;
    state.icmp.open(call.frame(), listener.0, request, cells.0, [cells.drops()?]);
    // Read now: at the return the request may be gone.
    state.icmp_peer = Sock(request).peer();
    Ok(())
}

#[inline(always)]
fn leave(call: &impl Return) -> Result<(), Fault> {
    let state = state();
    if !state.icmp.close(call.frame()) {
        return Ok(());
    }
    let (cells, [before]) = (MibPtr(state.icmp.cells), state.icmp.before);
    if cells.drops()? == before {
        return Ok(());
    }
    let MibValues { drops, .. } =
        delta(&mut state.delta, cells, Call { drops_before: Some(before), ..Call::PACKET })?;
    if drops == 0 {
        return Ok(());
    }
    let (sk, peer) = (Sock(state.icmp.sk), state.icmp_peer);
    let mut key = sk.listener_key()?;
    let local_port = key.port;
    let account = CounterHandle::open(&mut key);
    account.add(CounterId::ListenDrops, drops);
    account.add(CounterId::DropOtherAck, drops);
    let code = CounterId::DropOtherAck as u32;
    report(
        state,
        &key,
        &EventFields { code, account, local_port, peer, queues: sk.queues(), reason: NO_REASON, age: 0 },
    );
    Ok(())
}

entry!(enter; nq_tcp_req_err, nq_tcp_req_err_fentry);
leaving!(leave; nq_tcp_req_err_return, nq_tcp_req_err_fexit);
