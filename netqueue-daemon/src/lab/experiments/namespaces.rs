//! Namespaces that come and go, as containers do: each overflows, and what it counted outlives it.

use std::time::Duration;

use anyhow::Result;
use socket2::Socket;

use super::wait_for;
use crate::lab::counters::Counter;
use crate::lab::scene::{
    Amount, ExpectedEvents, ExpectedListener, Experiment, Provoke, QueueState, Scene, Settings, cause, stage,
};
use crate::lab::sockets::{Listener, connect_nonblocking, local_addresses};
use crate::lab::sysctl;

pub(super) const NAMESPACES: Experiment = Experiment {
    number: "23",
    name: "namespaces",
    incident: "10 network namespaces, one after the other: a listener in each overflows, then all of it is destroyed",
    verdict: "accept queue full in ten namespaces: each one's counts were right while it lived, when its sockets were closed, and \
              after it was gone",
    provoke: Provoke::InEach(10, overflow),
};

const CLIENTS: u64 = 8;

fn overflow(_: &Settings) -> Result<Scene> {
    sysctl::defaults()?;
    // The same port in each: only the namespace tells them apart.
    let listener = Listener::ipv4(8023, 1)?;
    let queued = listener.fill(2, false)?;
    let clients: Vec<Socket> =
        (0..CLIENTS).map(|_| connect_nonblocking(listener.loopback())).collect::<Result<_>>()?;
    wait_for(Counter::ListenDrops, CLIENTS, Duration::from_secs(5))?;
    Ok(Scene {
        kernel: vec![
            (Counter::ListenOverflows, Amount::AtLeast(CLIENTS)),
            (Counter::ListenDrops, Amount::All(Counter::ListenOverflows)),
        ],
        listeners: vec![ExpectedListener {
            sole: true,
            ..ExpectedListener::overflowed(listener.address(), stage::SYN, Amount::All(Counter::ListenDrops))
        }],
        events: Some(vec![ExpectedEvents {
            kind: "drop",
            cause: cause::ACCEPT_QUEUE_FULL,
            stages: stage::SYN,
            port: listener.address().port(),
            peers: local_addresses(&clients)?,
            at_least: CLIENTS as usize,
            accept_queue: Some(QueueState { length: 2..=2, limit: 1 }),
            syn_queue: None,
        }]),
        open: vec![Box::new((listener, queued, clients))],
        ..Scene::default()
    })
}
