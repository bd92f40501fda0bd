//! Several processes connect and several accept too slowly, on several listeners at once: the exactness of every
//! counter under concurrency.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::process::Child;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::lab::counters::{self, Counter};
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
const QUIET: Duration = Duration::from_millis(300);
const QUIET_WITHIN: Duration = Duration::from_secs(20);

fn concurrency(settings: &Settings) -> Result<Scene> {
    sysctl::defaults()?;
    let plain = Listener::ipv4(8201, 8)?;
    let deferring = Listener::ipv4(8202, 16)?;
    deferring.defer_accept()?;
    let mut targets = vec![plain.loopback().into()];
    let dual = dual_stack_if_possible(8203, &mut targets)?;
    let listeners = [plain, deferring, dual];

    let mut acceptors = Processes::default();
    for (listener, pause_ms) in listeners.iter().zip([4, 2, 4]) {
        acceptors.0.push(spawn_acceptor(listener, Acceptor { pause_ms, seconds: SECONDS })?);
    }
    acceptors.0.push(spawn_acceptor(&listeners[0], Acceptor { pause_ms: 5, seconds: SECONDS })?);

    let how = Clients { batch: 12, pause_us: handshake_pause_us(), first_byte: false, seconds: SECONDS };
    let deferring = [listeners[1].loopback().into()];
    let mut clients = Processes::default();
    for _ in 0..2 {
        clients.0.push(spawn_clients(&targets, how.clone())?);
        clients.0.push(spawn_clients(&deferring, Clients { first_byte: true, ..how.clone() })?);
    }
    for client in &mut clients.0 {
        let status = client.wait().context("cannot wait for a connecting process")?;
        if !status.success() {
            bail!("a connecting process ended with {status}");
        }
    }
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

/// On one CPU, clients that hardly sleep overrun the loopback device's queue: it loses their resets, and half-open
/// requests turn the experiment into a SYN flood.
fn handshake_pause_us() -> u64 {
    match thread::available_parallelism() {
        Ok(cpus) if cpus.get() > 1 => 200,
        _ => 5_000,
    }
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

/// Waits until the kernel has counted nothing for a while: clients are gone, acceptors have emptied the queues.
fn wait_until_quiet() -> Result<()> {
    let start = Instant::now();
    let mut last = counters::of_this_thread()?;
    let mut since = Instant::now();
    while since.elapsed() < QUIET {
        if start.elapsed() > QUIET_WITHIN {
            bail!("the kernel went on counting for {} s after the last client ended", QUIET_WITHIN.as_secs());
        }
        thread::sleep(Duration::from_millis(20));
        let now = counters::of_this_thread()?;
        if now != last {
            (last, since) = (now, Instant::now());
        }
    }
    Ok(())
}

/// Processes that end with the value.
#[derive(Default)]
struct Processes(Vec<Child>);

impl Drop for Processes {
    fn drop(&mut self) {
        for process in &mut self.0 {
            // Both fail only for a process that has ended already.
            let _ = process.kill();
            let _ = process.wait();
        }
    }
}
