//! net/ipv4/syncookies.c `cookie_v4_check(sk, skb)`: an ACK without a request reached a listener.
//! The ACK may have a cookie. The IPv6 twin is net/ipv6/syncookies.c `cookie_v6_check(sk, skb)`.
//!
//! SyncookiesRecv or SyncookiesFailed moves. The functions run with bottom halves off, and for everything but
//! a SYN: a client's reset for which there is no request passes through here, too, before it is discarded.

use netqueue_common::CounterId;

use super::call::{Entry, Return, entry, leaving};
use crate::{
    dropped_ack,
    maps::{CounterHandle, state},
    mib_values::MibPtr,
    read::Fault,
    sock::Sock,
};

#[inline(always)]
fn enter(call: &impl Entry) -> Result<(), Fault> {
    let state = state();
    let sk = call.arg_via(0, &mut state.scratch);
    let skb = call.arg_via(1, &mut state.scratch);
    let cells = call.cells(state, sk)?;
    state.cookie.open(call.frame(), sk, skb, cells.0, cells.cookies_returned()?);
    dropped_ack::hung_up(&mut state.flow, Sock(sk), skb)
}

#[inline(always)]
fn leave(call: &impl Return) -> Result<(), Fault> {
    let state = state();
    if !state.cookie.close(call.frame()) {
        return Ok(());
    }
    let after = MibPtr(state.cookie.cells).cookies_returned()?;
    let before = state.cookie.before;
    if after == before {
        return Ok(());
    }
    let mut key = Sock(state.cookie.sk).listener_key()?;
    let account = CounterHandle::open(&mut key);
    account.add(CounterId::SyncookiesReceived, after[0].wrapping_sub(before[0]));
    account.add(CounterId::SyncookiesFailed, after[1].wrapping_sub(before[1]));
    Ok(())
}

entry!(enter; nq_cookie_v4_check, nq_cookie_v4_check_fentry);
leaving!(leave; nq_cookie_v4_check_return, nq_cookie_v4_check_fexit);
entry!(enter; nq_cookie_v6_check, nq_cookie_v6_check_fentry);
leaving!(leave; nq_cookie_v6_check_return, nq_cookie_v6_check_fexit);
