//! Accept queue full when the last packet of the handshake arrives.
//! Eight handshakes compete for two places, so the connections of six clients are established on their side
//! only.

use netqueue_api::EventKind;
use std::net::SocketAddr;
use std::time::Duration;

use anyhow::Result;

use super::wait_for;
use crate::counters::Counter;
use crate::expectation::{
    Amount, Expectation, ExpectedEvents, ExpectedListener, Experiment, LabSettings, QueueState, Scenario,
    Share, cause, stage,
};
use crate::packet::SynAck;
use crate::raw::FakePeers;
use crate::sockets::{
    Family, Listener, PATIENCE, connect_nonblocking, local_addresses, send_byte, wait_connected,
};
use crate::sysctl;

pub(super) const OVERFLOW: Experiment = Experiment {
    number: "3",
    name: "final-ack-overflow",
    incident: "listen(8) with 7 connections queued; 8 handshakes under way end at once, 6 of their final ACKs find the queue full",
    verdict: "accept queue full at the final ACK: six clients believe they are connected and the server has no socket for them yet",
    provoke: Scenario::Inside(|_: &LabSettings| raw(Family::V4, 8003, false)),
};

pub(super) const OVERFLOW_DEFERRED: Experiment = Experiment {
    number: "3b",
    name: "final-ack-overflow-deferred",
    incident: "the same with TCP_DEFER_ACCEPT and real clients, whose first byte ends the handshake",
    verdict: "accept queue full at the final ACK, once more for each retransmission of a waiting client",
    provoke: Scenario::Inside(|_: &LabSettings| deferred(8103, false)),
};

pub(super) const ABORT: Experiment = Experiment {
    number: "4",
    name: "abort-on-overflow",
    incident: "experiment 3 with tcp_abort_on_overflow=1",
    verdict: "accept queue full at the final ACK, and each of the six is reset at once because tcp_abort_on_overflow is 1",
    provoke: Scenario::Inside(|_: &LabSettings| raw(Family::V4, 8004, true)),
};

pub(super) const ABORT_DEFERRED: Experiment = Experiment {
    number: "4b",
    name: "abort-on-overflow-deferred",
    incident: "experiment 3b with tcp_abort_on_overflow=1",
    verdict: "accept queue full at the final ACK, and each of the six clients reads \"connection reset by peer\"",
    provoke: Scenario::Inside(|_: &LabSettings| deferred(8104, true)),
};

pub(super) const COOKIE_ACK: Experiment = Experiment {
    number: "16",
    name: "cookie-ack-overflow",
    incident: "tcp_syncookies=2, tcp_abort_on_overflow=1, listen(1): 6 clients return their cookies, 4 find the queue full",
    verdict: "accept queue full at the ACK of a cookie: four clients believe they are connected, the server remembers nothing of them, \
              and tcp_abort_on_overflow does not apply",
    provoke: Scenario::Inside(|_: &LabSettings| cookie_ack(Family::V4, 8016)),
};

pub(super) const OVERFLOW_V6: Experiment = Experiment {
    number: "3-v6",
    name: "final-ack-overflow-ipv6",
    incident: "experiment 3 with IPv6 peers",
    verdict: "accept queue full at the final ACK: six clients believe they are connected and the server has no socket for them yet",
    provoke: Scenario::Inside(|_: &LabSettings| raw(Family::V6, 8303, false)),
};

pub(super) const ABORT_V6: Experiment = Experiment {
    number: "4-v6",
    name: "abort-on-overflow-ipv6",
    incident: "experiment 4 with IPv6 peers",
    verdict: "accept queue full at the final ACK, and each of the six is reset at once because tcp_abort_on_overflow is 1",
    provoke: Scenario::Inside(|_: &LabSettings| raw(Family::V6, 8304, true)),
};

pub(super) const COOKIE_ACK_V6: Experiment = Experiment {
    number: "16-v6",
    name: "cookie-ack-overflow-ipv6",
    incident: "experiment 16 with IPv6 peers",
    verdict: "accept queue full at the ACK of a cookie: four clients believe they are connected, the server remembers nothing of them, \
              and tcp_abort_on_overflow does not apply",
    provoke: Scenario::Inside(|_: &LabSettings| cookie_ack(Family::V6, 8316)),
};

const BACKLOG: i32 = 8;
const QUEUED: u32 = 7;
const HANDSHAKES: u16 = 8;
/// Length of a full accept queue: limit + 1.
const FULL: u32 = 9;
/// Number of handshakes that find room; the others overflow.
const FITTING: usize = (FULL - QUEUED) as usize;
const OVERFLOWS: u64 = HANDSHAKES as u64 - FITTING as u64;

pub(super) fn raw(family: Family, port: u16, abort: bool) -> Result<Expectation> {
    sysctl::defaults()?;
    sysctl::ensure("ipv4/tcp_abort_on_overflow", abort.into())?;
    let fake = FakePeers::of(family)?;
    let listener = Listener::of(family, port, BACKLOG)?;
    let queued = listener.fill(QUEUED, false)?;
    fake.send_syns(HANDSHAKES, listener.loopback())?;
    let answers = fake.syn_acks(HANDSHAKES.into(), PATIENCE)?;
    let late = finish(&fake, &listener, &answers, FITTING, FULL)?;
    let exactly = Amount::Exactly(OVERFLOWS);
    let mut expectation = overflowed(&listener, late, exactly, abort);
    expectation.open = vec![Box::new((listener, queued, fake))];
    Ok(expectation)
}

/// Sends the final ACKs, first those that fit; returns the peers that found no room.
fn finish(
    fake: &FakePeers,
    listener: &Listener,
    answers: &[SynAck],
    fitting: usize,
    full: u32,
) -> Result<Vec<SocketAddr>> {
    let send_ack = |answer: &SynAck| fake.send_final_ack(answer);
    let (fitting, late) = answers.split_at(fitting);
    fitting.iter().try_for_each(send_ack)?;
    listener.wait_for_queue(full)?;
    late.iter().try_for_each(send_ack)?;
    wait_for(Counter::ListenDrops, late.len() as u64, Duration::from_secs(5))?;
    Ok(late.iter().map(|answer| answer.to).collect())
}

fn deferred(port: u16, abort: bool) -> Result<Expectation> {
    sysctl::defaults()?;
    sysctl::ensure("ipv4/tcp_abort_on_overflow", abort.into())?;
    let listener = Listener::ipv4(port, BACKLOG)?;
    listener.defer_accept()?;
    let queued = listener.fill(QUEUED, true)?;
    let clients =
        (0..HANDSHAKES).map(|_| connect_nonblocking(listener.loopback())).collect::<Result<Vec<_>>>()?;
    clients.iter().try_for_each(wait_connected)?;
    let (fitting, late) = clients.split_at(FITTING);
    fitting.iter().try_for_each(send_byte)?;
    listener.wait_for_queue(FULL)?;
    late.iter().try_for_each(send_byte)?;
    wait_for(Counter::ListenDrops, OVERFLOWS, Duration::from_secs(5))?;
    // A client that is not reset sends its byte again.
    let amount = if abort { Amount::Exactly(OVERFLOWS) } else { Amount::AtLeast(OVERFLOWS) };
    let mut expectation = overflowed(&listener, local_addresses(late)?, amount, abort);
    expectation.open = vec![Box::new((listener, queued, clients))];
    Ok(expectation)
}

/// Expects the drops of final ACKs, and resets only if the sysctl requests them.
fn overflowed(listener: &Listener, peers: Vec<SocketAddr>, amount: Amount, abort: bool) -> Expectation {
    let resets = if abort { OVERFLOWS } else { 0 };
    let drop_events = ExpectedEvents {
        kind: EventKind::Drop,
        cause: cause::ACCEPT_QUEUE_FULL,
        stages: stage::ACK,
        port: listener.address().port(),
        peers: peers.clone(),
        at_least: OVERFLOWS as usize,
        accept_queue: Some(QueueState { length: 9..=9, limit: 8 }),
        syn_queue: None,
    };
    let reset_events = ExpectedEvents {
        kind: EventKind::Reset,
        cause: cause::OVERFLOW_ABORT,
        stages: stage::ACK,
        port: listener.address().port(),
        peers,
        at_least: OVERFLOWS as usize,
        accept_queue: None,
        syn_queue: None,
    };
    Expectation {
        kernel: vec![
            (Counter::ListenOverflows, amount),
            (Counter::ListenDrops, Amount::All(Counter::ListenOverflows)),
            (Counter::EmbryonicRsts, Amount::Exactly(resets)),
            (Counter::OutRsts, Amount::Exactly(resets)),
        ],
        listeners: vec![ExpectedListener {
            address: listener.address(),
            drops: vec![Share {
                cause: cause::ACCEPT_QUEUE_FULL,
                stages: stage::ACK,
                amount: Amount::All(Counter::ListenDrops),
            }],
            resets: Some(if abort {
                vec![(cause::OVERFLOW_ABORT, Amount::Exactly(OVERFLOWS))]
            } else {
                vec![]
            }),
            sole: true,
        }],
        events: Some(if abort { vec![drop_events, reset_events] } else { vec![drop_events] }),
        ..Expectation::default()
    }
}

fn cookie_ack(family: Family, port: u16) -> Result<Expectation> {
    const HANDSHAKES: u16 = 6;
    const FITTING: usize = 2;
    const OVERFLOWS: usize = 4;
    sysctl::defaults()?;
    sysctl::ensure("ipv4/tcp_syncookies", 2)?;
    sysctl::ensure("ipv4/tcp_abort_on_overflow", 1)?;
    let fake = FakePeers::of(family)?;
    let listener = Listener::of(family, port, 1)?;
    fake.send_syns(HANDSHAKES, listener.loopback())?;
    let answers = fake.syn_acks(HANDSHAKES.into(), PATIENCE)?;
    let late = finish(&fake, &listener, &answers, FITTING, FITTING as u32)?;
    Ok(Expectation {
        kernel: vec![
            (Counter::ListenOverflows, Amount::Exactly(OVERFLOWS as u64)),
            (Counter::ListenDrops, Amount::All(Counter::ListenOverflows)),
            (Counter::SyncookiesSent, Amount::Exactly(HANDSHAKES.into())),
            (Counter::OutRsts, Amount::Exactly(0)),
        ],
        listeners: vec![ExpectedListener {
            address: listener.address(),
            drops: vec![Share {
                cause: cause::ACCEPT_QUEUE_FULL,
                stages: stage::COOKIE_ACK,
                amount: Amount::All(Counter::ListenDrops),
            }],
            resets: Some(vec![]),
            sole: true,
        }],
        events: Some(vec![ExpectedEvents {
            kind: EventKind::Drop,
            cause: cause::ACCEPT_QUEUE_FULL,
            stages: stage::COOKIE_ACK,
            port: listener.address().port(),
            peers: late,
            at_least: OVERFLOWS,
            accept_queue: Some(QueueState { length: 2..=2, limit: 1 }),
            syn_queue: None,
        }]),
        open: vec![Box::new((listener, fake))],
        ..Expectation::default()
    })
}
