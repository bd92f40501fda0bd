//! net/smc/af_smc.c `smc_tcp_syn_recv_sock(sk, skb, req, dst, req_unhash, ..)` (from 6.0).
//! A handshake is complete at a listener of SMC, which may drop the ACK itself, before TCP is called.
//!
//! The function counts what it drops (`tcp_listendrop`). Whatever the function that it replaces has dropped
//! was charged at that one's return. It runs with bottom halves off. As a module's function it is hooked by
//! kprobe only.

use aya_ebpf::{
    macros::{kprobe, kretprobe},
    programs::{ProbeContext, RetProbeContext},
};

use super::{
    call::{Entry as _, Return as _},
    syn_recv_sock,
};
use crate::{emit::observe, maps::state, read::Fault, sock::Sock};

#[kprobe]
fn nq_smc_tcp_syn_recv_sock(call: ProbeContext) -> u32 {
    let argument = |n| call.arg(n).unwrap_or(0_u64);
    let (state, sk, skb, req_unhash) = (state(), argument(0), argument(1), argument(4));
    state.smc.open(call.frame(), sk, skb, 0, []);
    state.smc.mark = u64::from(req_unhash == 0);
    0
}

#[kretprobe]
fn nq_smc_tcp_syn_recv_sock_return(call: RetProbeContext) -> u32 {
    observe(leave(&call))
}

#[inline(always)]
fn leave(call: &RetProbeContext) -> Result<(), Fault> {
    let (state, child): (_, u64) = (state(), call.ret());
    if !state.smc.close(call.frame()) || child != 0 {
        return Ok(());
    }
    let (sk, skb, cookie) = (Sock(state.smc.sk), state.smc.skb, state.smc.mark != 0);
    syn_recv_sock::dropped_by(state, sk, skb, cookie)
}
