//! A host full of listeners, each of which drops once: none is left out, none is taken for another.

use std::net::SocketAddr;

use anyhow::Result;

use super::wait_for;
use crate::lab::counters::Counter;
use crate::lab::scene::{
    Amount, ExpectedEvents, ExpectedListener, Experiment, Provoke, QueueState, Scene, Settings, cause, stage,
};
use crate::lab::sockets::{Listener, PATIENCE, connect_nonblocking, local_address};
use crate::lab::sysctl;

pub(super) const MANY_LISTENERS: Experiment = Experiment {
    number: "22",
    name: "many-listeners",
    incident: "1000 listeners, each of which drops one SYN",
    verdict: "1000 accept queues were full, each listener's row counts its own drop",
    provoke: Provoke::Inside(many_listeners),
};

const LISTENERS: u16 = 1000;
const FIRST_PORT: u16 = 11_000;
const AT_ONCE: u16 = 50;

fn many_listeners(_: &Settings) -> Result<Scene> {
    sysctl::defaults()?;
    let mut scene = Scene {
        kernel: vec![
            (Counter::ListenOverflows, Amount::Exactly(LISTENERS.into())),
            (Counter::ListenDrops, Amount::Exactly(LISTENERS.into())),
            (Counter::OutRsts, Amount::Exactly(0)),
        ],
        ..Scene::default()
    };
    let mut events = Vec::new();
    for first in (FIRST_PORT..FIRST_PORT + LISTENERS).step_by(AT_ONCE.into()) {
        let mut clients = Vec::new();
        for port in first..first + AT_ONCE {
            // Room for one connection.
            let listener = Listener::ipv4(port, 0)?;
            let queued = listener.fill(1, false)?;
            let client = connect_nonblocking(listener.loopback().into())?;
            let overflowed = ExpectedListener::overflowed(listener.address(), stage::SYN, Amount::Exactly(1));
            scene.listeners.push(overflowed);
            events.push(dropped(port, local_address(&client)?));
            scene.open.push(Box::new((listener, queued)));
            clients.push(client);
        }
        let so_far = u64::from(first + AT_ONCE - FIRST_PORT);
        wait_for(Counter::ListenDrops, so_far, PATIENCE)?;
        // The clients end here, before any of them sends a second SYN.
    }
    scene.events = Some(events);
    Ok(scene)
}

fn dropped(port: u16, peer: SocketAddr) -> ExpectedEvents {
    ExpectedEvents {
        kind: "drop",
        cause: cause::ACCEPT_QUEUE_FULL,
        stages: stage::SYN,
        port,
        peers: vec![peer],
        at_least: 1,
        accept_queue: Some(QueueState { length: 1..=1, limit: 0 }),
        syn_queue: None,
    }
}
