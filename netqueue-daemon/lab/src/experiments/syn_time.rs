//! Accept queue full when the SYN arrives.
//! A process that does not accept causes this on every kernel since 4.10.

use netqueue_api::EventKind;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use anyhow::Result;
use socket2::Socket;

use super::wait_for;
use crate::counters::Counter;
use crate::expectation::{
    Amount, Expectation, ExpectedEvents, ExpectedListener, Experiment, LabSettings, QueueState, Scenario,
    Waiting, cause, stage,
};
use crate::sockets::{Listener, connect_nonblocking, local_addresses, localhost};
use crate::sysctl;

pub(super) const ACCEPT_QUEUE_FULL: Experiment = Experiment {
    number: "1",
    name: "accept-queue-full",
    incident: "listen(1), nobody accepts, 10 clients connect and try again for some seconds",
    verdict: "accept queue full at SYN time: the process does not accept; raising the backlog only helps bursts. No client is reset, \
              each waits for its next SYN",
    provoke: Scenario::Inside(|_: &LabSettings| ten_connects(8001, 0)),
};

pub(super) const ABORT_ON_OVERFLOW_IS_SILENT: Experiment = Experiment {
    number: "2",
    name: "abort-on-overflow-at-syn",
    incident: "the same with tcp_abort_on_overflow=1",
    verdict: "accept queue full at SYN time: tcp_abort_on_overflow answers final ACKs, a dropped SYN stays without an answer",
    provoke: Scenario::Inside(|_: &LabSettings| ten_connects(8002, 1)),
};

pub(super) const DUAL_STACK: Experiment = Experiment {
    number: "15",
    name: "dual-stack",
    incident: "[::] listen(1), nobody accepts, 5 IPv4 and 5 IPv6 clients connect",
    verdict: "accept queue full at SYN time, of one listener for both families: each drop counts once",
    provoke: Scenario::Inside(dual_stack),
};

/// Number of clients beyond the two that fill listen(1).
/// Each is dropped at once, and again at its first retransmission a second later.
const CLIENTS_DROPPED: u64 = 8;
const ENOUGH: u64 = 2 * CLIENTS_DROPPED;
const PATIENCE: Duration = Duration::from_secs(6);

fn ten_connects(port: u16, abort_on_overflow: u64) -> Result<Expectation> {
    sysctl::defaults()?;
    sysctl::ensure("ipv4/tcp_abort_on_overflow", abort_on_overflow)?;
    let listener = Listener::ipv4(port, 1)?;
    let queued = listener.fill(2, false)?;
    let clients: Vec<Socket> =
        (0..CLIENTS_DROPPED).map(|_| connect_nonblocking(listener.loopback())).collect::<Result<_>>()?;
    overflowed(listener, queued, clients)
}

fn dual_stack(_: &LabSettings) -> Result<Expectation> {
    sysctl::defaults()?;
    let listener = Listener::dual_stack(8015, 1)?;
    let queued = listener.fill(2, false)?;
    let targets: [SocketAddr; 2] =
        [localhost(Ipv4Addr::LOCALHOST, 8015), localhost(Ipv6Addr::LOCALHOST, 8015)];
    // The two queued clients are IPv4: three more make five per family.
    let clients: Vec<Socket> =
        [targets[0]; 3].into_iter().chain([targets[1]; 5]).map(connect_nonblocking).collect::<Result<_>>()?;
    overflowed(listener, queued, clients)
}

/// Expects clients that are dropped repeatedly: each is one peer with several packets.
fn overflowed(listener: Listener, queued: Vec<Socket>, clients: Vec<Socket>) -> Result<Expectation> {
    let waiting = Waiting { port: listener.address().port(), clients: clients.len(), times: 2 };
    Ok(Expectation { waiting: Some(waiting), ..dropped_at_syn(listener, queued, clients, ENOUGH, PATIENCE)? })
}

/// Waits until at least `drops` SYNs of clients of a full listen(1) were dropped.
/// Expects that every drop is the listener's, at SYN time, and that no client is reset.
pub(super) fn dropped_at_syn(
    listener: Listener,
    queued: Vec<Socket>,
    clients: Vec<Socket>,
    drops: u64,
    patience: Duration,
) -> Result<Expectation> {
    wait_for(Counter::ListenDrops, drops, patience)?;
    Ok(Expectation {
        kernel: vec![
            (Counter::ListenOverflows, Amount::AtLeast(drops)),
            (Counter::ListenDrops, Amount::All(Counter::ListenOverflows)),
            (Counter::OutRsts, Amount::Exactly(0)),
        ],
        listeners: vec![ExpectedListener {
            sole: true,
            ..ExpectedListener::overflowed(listener.address(), stage::SYN, Amount::All(Counter::ListenDrops))
        }],
        events: Some(vec![ExpectedEvents {
            kind: EventKind::Drop,
            cause: cause::ACCEPT_QUEUE_FULL,
            stages: stage::SYN,
            port: listener.address().port(),
            peers: local_addresses(&clients)?,
            at_least: drops as usize,
            accept_queue: Some(QueueState { length: 2..=2, limit: 1 }),
            syn_queue: None,
        }]),
        open: vec![Box::new((listener, queued, clients))],
        ..Expectation::default()
    })
}
