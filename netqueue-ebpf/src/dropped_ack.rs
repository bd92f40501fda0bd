//! Memory of handshakes whose final ACK was dropped: distinguishes their late packets from stray ones.
//!
//! A healthy connection's path does nothing here but read a word which shows that nothing is remembered.

use aya_ebpf::{macros::map, maps::LruHashMap};
use netqueue_common::{CounterId, DroppedAck, Flow, Tally};

use crate::{
    maps::CounterHandle,
    packet::Packet,
    read::{Fault, monotonic_now},
    sock::Sock,
    tally::tally,
};

/// Handshakes whose final ACK was dropped, by connection. The loader sets the size.
#[map(name = "nq_dropped_acks")]
static DROPPED_ACKS: LruHashMap<Flow, DroppedAck> = LruHashMap::with_max_entries(1024, 0);

/// 1 if the cache of dropped final ACKs may contain anything. [`remember`] sets it; nothing clears it.
static mut REMEMBERING: u64 = 0;

/// Remembers a handshake whose final ACK a listener dropped.
/// The listener keeps the request, or nothing if the ACK was a cookie's.
#[inline(always)]
pub(crate) fn remember(
    flow: &mut Flow,
    sk: Sock,
    skb: u64,
    cookie: bool,
    account: CounterHandle,
) -> Result<(), Fault> {
    Packet(skb).note_flow(sk.net()?.id()?, flow)?;
    let known = match suspect(flow) {
        // The same client again: one handshake, however many packets.
        Some(suspect) if is_open(suspect.state) => return Ok(()),
        suspect => suspect.is_some(),
    };
    let (state, cell) = if cookie {
        (DroppedAck::GHOST, CounterId::Ghosts)
    } else {
        (DroppedAck::ACK_DROPPED, CounterId::HandshakesSuspended)
    };
    if write(flow, &DroppedAck { since: monotonic_now(), state }) {
        account.add(cell, 1);
        if !known {
            tally(Tally::DroppedAcksEntered);
        }
    }
    // SAFETY: a live word; every writer writes the same.
    unsafe { (&raw mut REMEMBERING).write_volatile(1) };
    Ok(())
}

/// Notes that a packet completed a handshake, which has recovered if its ACK was dropped before.
/// Only to be called if anything is remembered ([`remembering`]).
#[inline(always)]
pub(crate) fn completed(flow: &mut Flow, sk: Sock, skb: u64) -> Result<(), Fault> {
    Packet(skb).note_flow(sk.net()?.id()?, flow)?;
    let Some(suspect) = suspect(flow) else { return Ok(()) };
    let state = suspect.state;
    strike(flow);
    let mut key = sk.listener_key()?;
    let account = CounterHandle::open(&mut key);
    if state == DroppedAck::GHOST {
        account.add(CounterId::GhostsRecovered, 1);
    } else if state == DroppedAck::ACK_DROPPED {
        account.add(CounterId::HandshakesRecovered, 1);
    }
    Ok(())
}

/// Notes that a reset, sent (`answered`) or received, ended a request that the listener still had.
#[inline(always)]
pub(crate) fn ended(
    flow: &mut Flow,
    request: Sock,
    answered: bool,
    account: CounterHandle,
) -> Result<(), Fault> {
    if !remembering() {
        return Ok(());
    }
    request.note_request(request.net()?.id()?, flow)?;
    if let Some(suspect) = suspect(flow)
        && suspect.state == DroppedAck::ACK_DROPPED
    {
        strike(flow);
        account.add(if answered { CounterId::HandshakesEnded } else { CounterId::HandshakesGivenUp }, 1);
    }
    Ok(())
}

/// Notes that a client's reset reached a listener that has no request of the client.
/// If the ACK of its handshake was dropped, the client has given up.
#[inline(always)]
pub(crate) fn hung_up(flow: &mut Flow, sk: Sock, skb: u64) -> Result<(), Fault> {
    if !remembering() || !Packet(skb).is_reset()? {
        return Ok(());
    }
    Packet(skb).note_flow(sk.net()?.id()?, flow)?;
    let Some(suspect) = suspect(flow) else { return Ok(()) };
    let state = suspect.state;
    strike(flow);
    if !is_open(state) {
        return Ok(());
    }
    let mut key = sk.listener_key()?;
    let account = CounterHandle::open(&mut key);
    account.add(
        if state == DroppedAck::GHOST { CounterId::GhostsGivenUp } else { CounterId::HandshakesGivenUp },
        1,
    );
    Ok(())
}

/// Returns whether the final ACK of this request was dropped; if so, `flow` is its connection.
/// The request's timer is about to run.
#[inline(always)]
pub(crate) fn is_ack_dropped(flow: &mut Flow, request: Sock) -> Result<bool, Fault> {
    if !remembering() {
        return Ok(false);
    }
    request.note_request(request.net()?.id()?, flow)?;
    Ok(suspect(flow).is_some_and(|suspect| suspect.state == DroppedAck::ACK_DROPPED))
}

/// Notes that the listener gave up the request of a suspended handshake.
#[inline(always)]
pub(crate) fn timed_out(flow: &Flow, sk: Sock) -> Result<(), Fault> {
    if let Some(suspect) = suspect(flow)
        && suspect.state == DroppedAck::ACK_DROPPED
    {
        suspect.state = DroppedAck::TIMED_OUT;
        let mut key = sk.listener_key()?;
        CounterHandle::open(&mut key).add(CounterId::HandshakesTimedOut, 1);
    }
    Ok(())
}

/// Returns whether a handshake in this state has no outcome yet.
#[inline(always)]
fn is_open(state: u64) -> bool {
    state == DroppedAck::ACK_DROPPED || state == DroppedAck::GHOST
}

/// Returns the remembered handshake of a packet that a listener answered with a reset, if any.
#[inline(always)]
pub(crate) fn recall(flow: &mut Flow, sk: Sock, skb: u64) -> Result<Option<&'static mut DroppedAck>, Fault> {
    if !remembering() {
        return Ok(None);
    }
    Packet(skb).note_flow(sk.net()?.id()?, flow)?;
    Ok(suspect(flow))
}

/// Returns whether the final ACK of this handshake was dropped and no reset was sent since.
#[inline(always)]
pub(crate) fn awaits_reset(flow: &Flow) -> bool {
    remembering() && suspect(flow).is_some_and(|suspect| suspect.state != DroppedAck::ENDED)
}

/// Notes that a reset was sent, by which the client learns that its handshake failed.
#[inline(always)]
pub(crate) fn expired(suspect: &mut DroppedAck, account: CounterHandle) {
    if suspect.state == DroppedAck::GHOST {
        account.add(CounterId::GhostsEnded, 1);
    } else if suspect.state == DroppedAck::ACK_DROPPED {
        // The request is gone: its time-out was not seen.
        account.add(CounterId::HandshakesTimedOut, 1);
        account.add(CounterId::HandshakesExpired, 1);
    } else if suspect.state == DroppedAck::TIMED_OUT {
        account.add(CounterId::HandshakesExpired, 1);
    }
    suspect.state = DroppedAck::ENDED;
}

#[inline(always)]
fn suspect(flow: &Flow) -> Option<&'static mut DroppedAck> {
    let pointer = DROPPED_ACKS.get_ptr_mut(flow)?;
    // SAFETY: a live map value. The map may give its memory to another flow while it is used: then that
    // flow's record is read or written, never memory that is not a record.
    Some(unsafe { &mut *pointer })
}

/// Writes an entry of the cache of dropped final ACKs.
/// By reference: a copy of either argument would not fit on a program's stack beside the rest.
#[inline(always)]
fn write(flow: &Flow, suspect: &DroppedAck) -> bool {
    DROPPED_ACKS.insert(flow, suspect, 0).is_ok()
}

#[inline(always)]
fn strike(flow: &Flow) {
    if DROPPED_ACKS.remove(flow).is_ok() {
        tally(Tally::DroppedAcksStruck);
    }
}

/// Returns whether any handshake is or was remembered.
#[inline(always)]
pub(crate) fn remembering() -> bool {
    // SAFETY: as above.
    unsafe { (&raw const REMEMBERING).read_volatile() != 0 }
}
