//! Several processes connect and several accept too slowly, on several listeners at once: the exactness of every
//! counter under concurrency.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

use anyhow::Result;

use super::load::{Processes, handshake_pause_us, wait_until_quiet};
use crate::lab::counters::Counter;
use crate::lab::scene::{
    Amount, ExpectedListener, Experiment, Provoke, Scene, Settings, Share, cause, stage,
};
use crate::lab::sockets::{Listener, localhost};
use crate::lab::sysctl;
use crate::lab::verdict::Skip;
use crate::lab::worker::{Acceptor, Clients, spawn_acceptor, spawn_clients};

pub(super) const CONCURRENCY: Experiment = Experiment {
    number: "19",
    name: "concurrency",
    incident: "3 listeners, one of them deferring, one dual-stack; 4 processes connect and 4 accept too slowly, for 10 s",
    verdict: "accept queues full at SYN time and at the final ACK, thousands of times: each drop and reset is charged to one listener, \
              and nothing is left over",
    provoke: Provoke::Inside(concurrency),
};

const SECONDS: u64 = 10;

fn concurrency(settings: &Settings) -> Result<Scene> {
    sysctl::defaults()?;
    let plain = Listener::ipv4(8201, 8)?;
    let deferring = Listener::ipv4(8202, 16)?;
    deferring.defer_accept()?;
    let mut targets = vec![plain.loopback()];
    let dual = dual_stack_if_possible(8203, &mut targets)?;
    let listeners = [plain, deferring, dual];

    let mut acceptors = Processes::default();
    for (listener, pause_ms) in listeners.iter().zip([4, 2, 4]) {
        acceptors.0.push(spawn_acceptor(listener, Acceptor { pause_ms, seconds: SECONDS })?);
    }
    acceptors.0.push(spawn_acceptor(&listeners[0], Acceptor { pause_ms: 5, seconds: SECONDS })?);

    let how = Clients {
        batch: 12,
        pause_us: handshake_pause_us(),
        first_byte: false,
        fast_open: false,
        seconds: SECONDS,
    };
    let deferring = [listeners[1].loopback()];
    let mut clients = Processes::default();
    for _ in 0..2 {
        clients.0.push(spawn_clients(&targets, how.clone())?);
        clients.0.push(spawn_clients(&deferring, Clients { first_byte: true, ..how.clone() })?);
    }
    clients.wait()?;
    wait_until_quiet()?;
    drop(acceptors);

    let [plain, deferring, dual] = &listeners;
    let full =
        |stages, least| Share { cause: cause::ACCEPT_QUEUE_FULL, stages, amount: Amount::AtLeast(least) };
    let expected = |listener: &Listener, drops| ExpectedListener {
        address: listener.address(),
        drops,
        resets: None,
        sole: false,
    };
    Ok(Scene {
        kernel: vec![
            (Counter::ListenDrops, Amount::AtLeast(settings.min_drops)),
            (Counter::EmbryonicRsts, Amount::AtLeast(1)),
            (Counter::OutRsts, Amount::AtLeast(1)),
        ],
        listeners: vec![
            expected(plain, vec![full(stage::ANY, 1)]),
            expected(deferring, vec![full(stage::ACK, 1), full(stage::SYN, 0), full(stage::COOKIE_ACK, 0)]),
            expected(dual, vec![full(stage::ANY, 1)]),
        ],
        events: None,
        open: vec![Box::new(listeners)],
        ..Scene::default()
    })
}

/// Listens on both families, or on IPv4 alone where the kernel has no IPv6, and adds where clients find it.
fn dual_stack_if_possible(port: u16, targets: &mut Vec<SocketAddr>) -> Result<Listener> {
    targets.push(localhost(Ipv4Addr::LOCALHOST, port));
    match Listener::dual_stack(port, 4) {
        Ok(listener) => {
            targets.push(localhost(Ipv6Addr::LOCALHOST, port));
            Ok(listener)
        }
        Err(error) if error.is::<Skip>() => Listener::ipv4(port, 4),
        Err(error) => Err(error),
    }
}
