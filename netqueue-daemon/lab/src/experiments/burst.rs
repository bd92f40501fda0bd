//! Many clients at once against a backlog that suffices for some of them.

use netqueue_api::EventKind;
use std::thread;
use std::time::Duration;

use anyhow::Result;
use socket2::Socket;

use super::wait_for;
use crate::counters::Counter;
use crate::expectation::{
    Amount, Expectation, ExpectedEvents, ExpectedListener, Experiment, LabSettings, Scenario, Share, cause,
    stage,
};
use crate::sockets::{Listener, connect_nonblocking, local_addresses};
use crate::sysctl;

pub(super) const BURST: Experiment = Experiment {
    number: "9",
    name: "burst",
    incident: "listen(128), nobody accepts, 500 clients connect at once and try again for some seconds",
    verdict: "accept queue full, by a burst: 129 connections fit, the others wait seconds for their next SYN; a backlog of 500 would \
              have been enough",
    provoke: Scenario::Inside(burst),
};

pub(super) const PACED: Experiment = Experiment {
    number: "11",
    name: "paced",
    incident: "listen(128), 400 clients connect 5 ms apart, the server accepts each as it comes",
    verdict: "no drop: the same clients that overflow a queue of 128 at once never fill it at this pace",
    provoke: Scenario::Inside(paced),
};

const CLIENTS: u64 = 500;
const BACKLOG: i32 = 128;
/// Clients that find no room are dropped at once, and twice more within several seconds.
const AT_ONCE: u64 = CLIENTS - 129;
const IN_FOUR_SECONDS: u64 = 3 * AT_ONCE;

fn burst(_: &LabSettings) -> Result<Expectation> {
    sysctl::defaults()?;
    let listener = Listener::ipv4(8009, BACKLOG)?;
    let clients: Vec<Socket> =
        (0..CLIENTS).map(|_| connect_nonblocking(listener.loopback())).collect::<Result<_>>()?;
    wait_for(Counter::ListenDrops, IN_FOUR_SECONDS, Duration::from_secs(4))?;
    let any_stage = |amount| Share { cause: cause::ACCEPT_QUEUE_FULL, stages: stage::ANY, amount };
    Ok(Expectation {
        kernel: vec![
            (Counter::ListenOverflows, Amount::AtLeast(AT_ONCE)),
            (Counter::ListenDrops, Amount::All(Counter::ListenOverflows)),
            (Counter::OutRsts, Amount::Exactly(0)),
        ],
        listeners: vec![ExpectedListener {
            address: listener.address(),
            drops: vec![any_stage(Amount::All(Counter::ListenDrops))],
            resets: Some(vec![]),
            sole: true,
        }],
        events: Some(vec![ExpectedEvents {
            kind: EventKind::Drop,
            cause: cause::ACCEPT_QUEUE_FULL,
            stages: stage::ANY,
            port: listener.address().port(),
            peers: local_addresses(&clients)?,
            at_least: 20,
            // Two CPUs can both find the last place free, so the queue may exceed its limit slightly.
            accept_queue: Some(crate::expectation::QueueState { length: 128..=140, limit: 128 }),
            syn_queue: None,
        }]),
        open: vec![Box::new((listener, clients))],
        ..Expectation::default()
    })
}

fn paced(_: &LabSettings) -> Result<Expectation> {
    const CLIENTS: usize = 400;
    const PACE: Duration = Duration::from_millis(5);
    sysctl::defaults()?;
    let listener = Listener::ipv4(8011, BACKLOG)?;
    let (mut clients, mut accepted) = (Vec::new(), Vec::new());
    let mut longest = 0;
    for _ in 0..CLIENTS {
        clients.push(connect_nonblocking(listener.loopback())?);
        longest = longest.max(listener.queue_length()?);
        thread::sleep(PACE);
        accepted.extend(listener.try_accept()?);
    }
    let mut problems = Vec::new();
    if accepted.len() < CLIENTS {
        problems.push(format!("{} of {CLIENTS} clients were accepted", accepted.len()));
    }
    Ok(Expectation {
        kernel: vec![(Counter::ListenDrops, Amount::Exactly(0)), (Counter::OutRsts, Amount::Exactly(0))],
        events: Some(vec![]),
        measured: vec![format!("the accept queue held {longest} of {BACKLOG} at most")],
        problems,
        open: vec![Box::new((listener, clients, accepted))],
        ..Expectation::default()
    })
}
