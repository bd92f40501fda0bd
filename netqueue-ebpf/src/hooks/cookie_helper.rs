//! net/ipv4/tcp_input.c `tcp_get_syncookie_mss(rsk_ops, af_ops, sk, th)`: a BPF program's cookie.
//! A BPF program requests a cookie in a listener's name (`bpf_tcp_gen_syncookie`, called from XDP or tc by
//! protection against SYN floods).
//!
//! The function raises TCPReqQFullDoCookies for each cookie that it allows, and ListenOverflows where the
//! accept queue is full and it refuses. It drops nothing, so that ListenDrops stays. Its callers run with
//! bottom halves off.

use aya_ebpf::programs::{FExitContext, ProbeContext, RetProbeContext};
use netqueue_common::CounterId;

use super::{
    call::{Entry as _, Return as _, leaving, probed},
    trampoline::Traced,
};
use crate::{
    inflight::CpuState,
    maps::{CounterHandle, state},
    mib_baseline::{Call, delta},
    mib_values::{MibPtr, MibValues},
    read::Fault,
    sock::Sock,
};

/// Position of the listener among the arguments.
const LISTENER: usize = 2;

#[inline(always)]
fn enter(call: &ProbeContext) -> Result<(), Fault> {
    let state = state();
    state.helper.open(call.frame(), call.arg(LISTENER).unwrap_or(0), 0, 0, []);
    Ok(())
}

#[inline(always)]
fn leave(call: &RetProbeContext) -> Result<(), Fault> {
    let state = state();
    if !state.helper.close(call.frame()) {
        return Ok(());
    }
    let sk = Sock(state.helper.sk);
    charge(state, sk)
}

#[inline(always)]
fn leave_traced(call: &FExitContext) -> Result<(), Fault> {
    let state = state();
    let sk = Sock(Traced::new(call).arg_via(LISTENER, &mut state.scratch));
    charge(state, sk)
}

#[inline(always)]
fn charge(state: &mut CpuState, sk: Sock) -> Result<(), Fault> {
    let cells = MibPtr::linux(state, sk.net()?)?;
    let delta = delta(&mut state.delta, cells, Call::HELPER)?;
    if delta.is_nothing() {
        return Ok(());
    }
    let MibValues { overflows, do_cookies, full, .. } = delta;
    let account = CounterHandle::open(&mut sk.listener_key()?);
    account.add(CounterId::ListenOverflows, overflows);
    account.add(CounterId::CookieHelperOverflows, overflows);
    account.add(CounterId::ReqQFullDoCookies, do_cookies);
    account.add(CounterId::ReqQFullDrop, full);
    Ok(())
}

probed!(enter; nq_tcp_get_syncookie_mss);
leaving!(leave, leave_traced; nq_tcp_get_syncookie_mss_return, nq_tcp_get_syncookie_mss_fexit);
