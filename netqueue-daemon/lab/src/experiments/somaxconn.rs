//! An insufficient remedy: a sysctl raised under a listener that continues with its old limit.

use netqueue_api::EventKind;
use std::net::SocketAddr;

use anyhow::Result;

use super::wait_for;
use crate::counters::{self, Counter};
use crate::expectation::{
    Amount, Expectation, ExpectedEvents, ExpectedListener, Experiment, LabSettings, QueueState, Scenario,
    cause, stage,
};
use crate::sockets::{Listener, PATIENCE, connect_nonblocking, local_address};
use crate::sysctl;

pub(super) const SOMAXCONN: Experiment = Experiment {
    number: "18",
    name: "somaxconn",
    incident: "somaxconn is 4 when a server asks for listen(16); it overflows, somaxconn is raised to 4096, it overflows again; then it \
               calls listen(16) once more",
    verdict: "the limit stays 4 after the sysctl was raised and is 16 after listen() was called again: restart the server, or have it \
              listen again",
    provoke: Scenario::Inside(somaxconn),
};

const PORT: u16 = 8018;
const WANTED: u32 = 16;
const SOMAXCONN_BEFORE: u32 = 4;

fn somaxconn(_: &LabSettings) -> Result<Expectation> {
    sysctl::defaults()?;
    sysctl::ensure("core/somaxconn", SOMAXCONN_BEFORE.into())?;
    let listener = Listener::ipv4(PORT, WANTED as i32)?;
    // A full accept queue has limit + 1 connections.
    let queued = listener.fill(SOMAXCONN_BEFORE + 1, false)?;
    let before = overflow(&listener)?;

    sysctl::ensure("core/somaxconn", 4096)?;
    let raised = overflow(&listener)?;

    listener.listen_again(WANTED as i32)?;
    let more = listener.fill(WANTED - SOMAXCONN_BEFORE, false)?;
    let again = overflow(&listener)?;
    Ok(Expectation {
        kernel: vec![
            (Counter::ListenOverflows, Amount::AtLeast(3)),
            (Counter::ListenDrops, Amount::All(Counter::ListenOverflows)),
            (Counter::OutRsts, Amount::Exactly(0)),
        ],
        listeners: vec![ExpectedListener {
            sole: true,
            ..ExpectedListener::overflowed(listener.address(), stage::SYN, Amount::All(Counter::ListenDrops))
        }],
        events: Some(vec![
            dropped(before, SOMAXCONN_BEFORE),
            dropped(raised, SOMAXCONN_BEFORE),
            dropped(again, WANTED),
        ]),
        open: vec![Box::new((listener, queued, more))],
        ..Expectation::default()
    })
}

/// Connects a client whose SYN is dropped, and closes it before it retransmits.
fn overflow(listener: &Listener) -> Result<SocketAddr> {
    let known = counters::of_this_thread()?.get(Counter::ListenDrops);
    let client = connect_nonblocking(listener.loopback())?;
    wait_for(Counter::ListenDrops, known + 1, PATIENCE)?;
    local_address(&client)
}

fn dropped(peer: SocketAddr, limit: u32) -> ExpectedEvents {
    let length = limit + 1;
    ExpectedEvents {
        kind: EventKind::Drop,
        cause: cause::ACCEPT_QUEUE_FULL,
        stages: stage::SYN,
        port: PORT,
        peers: vec![peer],
        at_least: 1,
        accept_queue: Some(QueueState { length: length..=length, limit }),
        syn_queue: None,
    }
}
