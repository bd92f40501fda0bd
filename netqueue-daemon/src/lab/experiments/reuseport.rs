//! Four listeners on one port, one of which nobody accepts from: the address looks half sick, one socket is.

use std::time::Duration;

use anyhow::Result;
use socket2::Socket;

use super::wait_for;
use crate::lab::counters::Counter;
use crate::lab::scene::{
    Amount, ExpectedEvents, ExpectedListener, Experiment, Provoke, QueueState, Scene, Settings, Share, cause,
    stage,
};
use crate::lab::sockets::{Listener, connect_nonblocking, local_addresses};
use crate::lab::sysctl;

pub(super) const REUSEPORT: Experiment = Experiment {
    number: "14",
    name: "reuseport",
    incident: "four SO_REUSEPORT listeners on one port, 200 clients; nobody accepts from the one with listen(16)",
    verdict: "accept queue full, of one of the four sockets only: one worker is stuck, the other three are well",
    provoke: Provoke::Inside(reuseport),
};

const PORT: u16 = 8014;
const CLIENTS: usize = 200;
/// The kernel's hash gives the stuck listener some fifty clients, and it has room for seventeen.
const CERTAINLY_DROPPED: u64 = 5;

fn reuseport(_: &Settings) -> Result<Scene> {
    sysctl::defaults()?;
    let stuck = Listener::reuseport(PORT, 16)?;
    let healthy =
        [(); 3].map(|()| Listener::reuseport(PORT, 1024)).into_iter().collect::<Result<Vec<_>>>()?;
    let mut clients: Vec<Socket> = Vec::new();
    let mut accepted = Vec::new();
    for _ in 0..CLIENTS {
        clients.push(connect_nonblocking(stuck.loopback())?);
        for listener in &healthy {
            accepted.extend(listener.try_accept()?);
        }
    }
    wait_for(Counter::ListenDrops, CERTAINLY_DROPPED, Duration::from_secs(5))?;
    stuck.wait_for_queue(17)?;
    Ok(Scene {
        kernel: vec![
            (Counter::ListenOverflows, Amount::AtLeast(CERTAINLY_DROPPED)),
            (Counter::ListenDrops, Amount::All(Counter::ListenOverflows)),
            (Counter::OutRsts, Amount::Exactly(0)),
        ],
        // One row for four sockets on the address: the others have nothing to show.
        listeners: vec![ExpectedListener {
            address: stuck.address(),
            drops: vec![Share {
                cause: cause::ACCEPT_QUEUE_FULL,
                stages: stage::ANY,
                amount: Amount::All(Counter::ListenDrops),
            }],
            resets: Some(vec![]),
            sole: true,
        }],
        events: Some(vec![ExpectedEvents {
            kind: "drop",
            cause: cause::ACCEPT_QUEUE_FULL,
            stages: stage::ANY,
            port: PORT,
            peers: local_addresses(&clients)?,
            at_least: CERTAINLY_DROPPED as usize,
            accept_queue: Some(QueueState { length: 16..=18, limit: 16 }),
            syn_queue: None,
        }]),
        open: vec![Box::new((stuck, healthy, clients, accepted))],
        ..Scene::default()
    })
}
