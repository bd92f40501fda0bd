//! Memory of handshakes whose final ACK was dropped: distinguishes their late packets from stray ones.
//!
//! A healthy connection's path does nothing here but read a word which shows that nothing is remembered.

use aya_ebpf::{macros::map, maps::LruHashMap};
use netqueue_common::{Cell, Flow, Suspect, Tally};

use crate::{
    kernel::{Fault, Sock, monotonic_now},
    maps::{Account, tally},
    packet::Packet,
};

/// Handshakes whose final ACK was dropped, by connection. The loader sets the size.
#[map(name = "nq_dropped_acks")]
static LEDGER: LruHashMap<Flow, Suspect> = LruHashMap::with_max_entries(1024, 0);

/// 1 if the ledger may contain anything. [`remember`] sets it; nothing clears it.
static mut REMEMBERING: u64 = 0;

/// Remembers a handshake whose final ACK a listener dropped.
/// The listener keeps the request, or nothing if the ACK was a cookie's.
#[inline(always)]
pub(crate) fn remember(
    flow: &mut Flow,
    sk: Sock,
    skb: u64,
    cookie: bool,
    account: Account,
) -> Result<(), Fault> {
    Packet(skb).note_flow(sk.net()?.id()?, flow)?;
    let known = match suspect(flow) {
        // The same client again: one handshake, however many packets.
        Some(suspect) if is_open(suspect.state) => return Ok(()),
        suspect => suspect.is_some(),
    };
    let (state, cell) =
        if cookie { (Suspect::GHOST, Cell::Ghosts) } else { (Suspect::SUSPENDED, Cell::HandshakesSuspended) };
    if write(flow, &Suspect { since: monotonic_now(), state }) {
        account.add(cell, 1);
        if !known {
            tally(Tally::LedgerEntered);
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
    let account = Account::open(&mut key);
    if state == Suspect::GHOST {
        account.add(Cell::GhostsRecovered, 1);
    } else if state == Suspect::SUSPENDED {
        account.add(Cell::HandshakesRecovered, 1);
    }
    Ok(())
}

/// Notes that a reset, sent (`answered`) or received, ended a request that the listener still had.
#[inline(always)]
pub(crate) fn ended(flow: &mut Flow, request: Sock, answered: bool, account: Account) -> Result<(), Fault> {
    if !remembering() {
        return Ok(());
    }
    request.note_request(request.net()?.id()?, flow)?;
    if let Some(suspect) = suspect(flow)
        && suspect.state == Suspect::SUSPENDED
    {
        strike(flow);
        account.add(if answered { Cell::HandshakesEnded } else { Cell::HandshakesGivenUp }, 1);
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
    let account = Account::open(&mut key);
    account.add(if state == Suspect::GHOST { Cell::GhostsGivenUp } else { Cell::HandshakesGivenUp }, 1);
    Ok(())
}

/// Returns whether the final ACK of this request was dropped; if so, `flow` is its connection.
/// The request's timer is about to run.
#[inline(always)]
pub(crate) fn is_suspended(flow: &mut Flow, request: Sock) -> Result<bool, Fault> {
    if !remembering() {
        return Ok(false);
    }
    request.note_request(request.net()?.id()?, flow)?;
    Ok(suspect(flow).is_some_and(|suspect| suspect.state == Suspect::SUSPENDED))
}

/// Notes that the listener gave up the request of a suspended handshake.
#[inline(always)]
pub(crate) fn timed_out(flow: &Flow, sk: Sock) -> Result<(), Fault> {
    if let Some(suspect) = suspect(flow)
        && suspect.state == Suspect::SUSPENDED
    {
        suspect.state = Suspect::TIMED_OUT;
        let mut key = sk.listener_key()?;
        Account::open(&mut key).add(Cell::HandshakesTimedOut, 1);
    }
    Ok(())
}

/// Returns whether a handshake in this state has no outcome yet.
#[inline(always)]
fn is_open(state: u64) -> bool {
    state == Suspect::SUSPENDED || state == Suspect::GHOST
}

/// Returns the remembered handshake of a packet that a listener answered with a reset, if any.
#[inline(always)]
pub(crate) fn recall(flow: &mut Flow, sk: Sock, skb: u64) -> Result<Option<&'static mut Suspect>, Fault> {
    if !remembering() {
        return Ok(None);
    }
    Packet(skb).note_flow(sk.net()?.id()?, flow)?;
    Ok(suspect(flow))
}

/// Notes that a reset was sent, by which the client learns that its handshake failed.
#[inline(always)]
pub(crate) fn expired(suspect: &mut Suspect, account: Account) {
    if suspect.state == Suspect::GHOST {
        account.add(Cell::GhostsEnded, 1);
    } else if suspect.state == Suspect::SUSPENDED {
        // The request is gone: its time-out was not seen.
        account.add(Cell::HandshakesTimedOut, 1);
        account.add(Cell::HandshakesExpired, 1);
    } else if suspect.state == Suspect::TIMED_OUT {
        account.add(Cell::HandshakesExpired, 1);
    }
    suspect.state = Suspect::ENDED;
}

#[inline(always)]
fn suspect(flow: &Flow) -> Option<&'static mut Suspect> {
    let pointer = LEDGER.get_ptr_mut(flow)?;
    // SAFETY: a live map value. The map may give its memory to another flow while it is used: then that
    // flow's record is read or written, never memory that is not a record.
    Some(unsafe { &mut *pointer })
}

/// Writes an entry of the ledger.
/// By reference: a copy of either argument would not fit on a program's stack beside the rest.
#[inline(always)]
fn write(flow: &Flow, suspect: &Suspect) -> bool {
    LEDGER.insert(flow, suspect, 0).is_ok()
}

#[inline(always)]
fn strike(flow: &Flow) {
    if LEDGER.remove(flow).is_ok() {
        tally(Tally::LedgerStruck);
    }
}

/// Returns whether any handshake is or was remembered.
#[inline(always)]
pub(crate) fn remembering() -> bool {
    // SAFETY: as above.
    unsafe { (&raw const REMEMBERING).read_volatile() != 0 }
}
