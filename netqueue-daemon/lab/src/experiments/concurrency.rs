//! Exactness of every counter under concurrency.
//! Several processes connect and several accept too slowly, on several listeners at once.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

use anyhow::Result;

use super::load::{Processes, clients_in_batches, wait_until_quiet};
use crate::counters::{self, Counter};
use crate::expectation::{
    Amount, Expectation, ExpectedListener, Experiment, LabSettings, Scenario, Share, cause, stage,
};
use crate::sockets::{Listener, localhost};
use crate::sysctl;
use crate::verdict::Skip;
use crate::worker::{Acceptor, Clients, spawn_acceptor, spawn_clients};

pub(super) const CONCURRENCY: Experiment = Experiment {
    number: "19",
    name: "concurrency",
    incident: "3 listeners, one of them deferring, one dual-stack; 4 processes connect and 4 accept too slowly, for 10 s or more",
    verdict: "accept queues full at SYN time and at the final ACK, thousands of times: each drop and reset is charged to one listener, \
              and nothing is left over",
    provoke: Scenario::Inside(concurrency),
};

const SECONDS: u64 = 10;
/// Maximum number of rounds.
/// If the clients of a machine are too slow for its servers, each further round halves the servers' speed.
const ROUNDS: u32 = 4;

fn concurrency(settings: &LabSettings) -> Result<Expectation> {
    sysctl::defaults()?;
    let plain = Listener::ipv4(8201, 8)?;
    let deferring = Listener::ipv4(8202, 16)?;
    deferring.defer_accept()?;
    let mut targets = vec![plain.loopback()];
    let dual = dual_stack_if_possible(8203, &mut targets)?;
    let listeners = [plain, deferring, dual];

    let (mut rounds, mut dropped) = (0, 0);
    while rounds < ROUNDS && dropped < settings.min_drops {
        round(&listeners, &targets, 1 << rounds)?;
        rounds += 1;
        dropped = counters::of_this_thread()?.get(Counter::ListenDrops);
    }

    let [plain, deferring, dual] = &listeners;
    let full =
        |stages, least| Share { cause: cause::ACCEPT_QUEUE_FULL, stages, amount: Amount::AtLeast(least) };
    let expected = |listener: &Listener, drops| ExpectedListener {
        address: listener.address(),
        drops,
        resets: None,
        sole: false,
    };
    Ok(Expectation {
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
        measured: vec![format!("{dropped} drops in rounds of {SECONDS} s: {rounds}")],
        open: vec![Box::new(listeners)],
        ..Expectation::default()
    })
}

/// Runs one round of traffic, with servers whose pauses are `slower` times the usual ones.
/// Returns when all is quiet.
fn round(listeners: &[Listener; 3], targets: &[SocketAddr], slower: u64) -> Result<()> {
    let mut acceptors = Processes::default();
    for (listener, pause_ms) in [(0, 4), (1, 2), (2, 4), (0, 5)] {
        let how = Acceptor { pause_ms: pause_ms * slower, seconds: SECONDS };
        acceptors.0.push(spawn_acceptor(&listeners[listener], how)?);
    }
    let deferring = [listeners[1].loopback()];
    let how = clients_in_batches(SECONDS);
    let mut clients = Processes::default();
    for _ in 0..2 {
        clients.0.push(spawn_clients(targets, how.clone())?);
        clients.0.push(spawn_clients(&deferring, Clients { first_byte: true, ..how.clone() })?);
    }
    clients.wait()?;
    wait_until_quiet()
}

/// Listens on both families, or on IPv4 alone if the kernel has no IPv6; adds the targets for clients.
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
