//! Waiting times until accept(), as reported by netqueue and as measured by the server itself.

use std::net::SocketAddr;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use socket2::Socket;

use crate::counters::{self, Counter};
use crate::expectation::{Amount, Expectation, Experiment, Fixture, Scenario};
use crate::sockets::{Listener, connect, connect_fast_open, local_address};
use crate::sysctl;
use crate::watch::Watch;
use netqueue_api::{Distribution, Traffic};

pub(super) const SLOW: Experiment = Experiment {
    number: "50",
    name: "accept-wait",
    incident: "listen(128), 100 clients connect at once, the server accepts one each 20 ms",
    verdict: "no drop, and yet half of the clients wait a second or more: the process accepts 50 connections a second. netqueue's \
              percentiles are within 5 % of a trace the server took itself",
    provoke: Scenario::Watching(slow),
};

pub(super) const BLOCKING: Experiment = Experiment {
    number: "51",
    name: "accept-wait-blocking",
    incident: "a server that sleeps in accept() serves 20 clients that come 50 ms apart",
    verdict: "nobody waits: the time a server spends in accept() is not the time a connection spends in the queue",
    provoke: Scenario::Watching(blocking),
};

pub(super) const COOKIES: Experiment = Experiment {
    number: "52",
    name: "accept-wait-cookies",
    incident: "tcp_syncookies=2, 20 clients connect and are accepted half a second later",
    verdict: "connections made from cookies wait like others, and are measured like others",
    provoke: Scenario::Watching(cookies),
};

pub(super) const FAST_OPEN: Experiment = Experiment {
    number: "52b",
    name: "accept-wait-fast-open",
    incident: "20 clients send their SYNs with data (TCP_FASTOPEN) and are accepted half a second later",
    verdict: "such a connection is in the queue from its SYN on, and its wait is counted from there",
    provoke: Scenario::Watching(fast_open),
};

pub(super) const CLOSED: Experiment = Experiment {
    number: "53",
    name: "closed-with-full-queue",
    incident: "listen(8), 9 clients are queued, the server closes its listener",
    verdict: "9 connections were abandoned: each client is reset, and their wait, which has no end, is in no histogram",
    provoke: Scenario::Watching(closed),
};

pub(super) const DEAD: Experiment = Experiment {
    number: "54",
    name: "dead-in-the-queue",
    incident: "10 clients connect; 5 reset and 5 close their connections before anyone accepts; then the server accepts all",
    verdict: "a connection that dies in the queue stays in it until it is accepted: it takes a place, is counted once, and is not \
              forgotten",
    provoke: Scenario::Watching(dead),
};

/// Relative deviation that netqueue is allowed.
const TOLERANCE: f64 = 0.05;

/// The server's own measurements of its connections.
struct Trace {
    waits: Vec<Duration>,
    /// The connections, because closing one with unread data would reset it.
    open: Vec<Socket>,
}

impl Trace {
    /// Connects `count` clients one after the other; on loopback each is queued when `connect` returns.
    /// Returns each client with its address and the time at which it entered the queue.
    fn connect(
        listener: &Listener,
        count: usize,
        connect: fn(SocketAddr) -> Result<Socket>,
    ) -> Result<Vec<(Socket, SocketAddr, Instant)>> {
        let client = |_| {
            let before = Instant::now();
            let client = connect(listener.loopback())?;
            let entered = before + before.elapsed() / 2;
            let address = local_address(&client)?;
            Ok((client, address, entered))
        };
        (0..count).map(client).collect()
    }

    /// Accepts all clients, one per `pace`.
    fn accept(
        listener: &Listener,
        clients: &[(Socket, SocketAddr, Instant)],
        pace: Duration,
    ) -> Result<Self> {
        let (mut waits, mut open) = (Vec::new(), Vec::new());
        let mut next = Instant::now();
        for _ in clients {
            next += pace;
            thread::sleep(next.saturating_duration_since(Instant::now()));
            let connection = listener.try_accept()?.context("a queued connection is gone")?;
            let accepted = Instant::now();
            let peer = connection.peer_addr()?.as_socket();
            let (_, _, entered) = clients
                .iter()
                .find(|(_, address, _)| Some(*address) == peer)
                .context("a connection of nobody was accepted")?;
            waits.push(accepted.duration_since(*entered));
            open.push(connection);
        }
        waits.sort();
        Ok(Self { waits, open })
    }

    fn quantile(&self, of: f64) -> f64 {
        let index = (of * self.waits.len() as f64).ceil() as usize;
        self.waits.get(index.saturating_sub(1)).map_or(0.0, Duration::as_secs_f64)
    }

    fn mean(&self) -> f64 {
        self.waits.iter().sum::<Duration>().as_secs_f64() / self.waits.len() as f64
    }

    /// Reports netqueue's values beside the server's, and their deviations as problems.
    fn compare(&self, said: &Distribution, expectation: &mut Expectation) {
        if said.count != self.waits.len() as u64 {
            expectation.problems.push(format!(
                "{} waits were measured, {} connections accepted",
                said.count,
                self.waits.len()
            ));
        }
        for (name, own, theirs) in [
            ("mean", self.mean(), said.mean),
            ("p50", self.quantile(0.5), said.p50),
            ("p90", self.quantile(0.9), said.p90),
            ("p99", self.quantile(0.99), said.p99),
        ] {
            let theirs = theirs.unwrap_or(0.0);
            expectation
                .measured
                .push(format!("{name}: the server waited {own:.3} s, netqueue says {theirs:.3} s"));
            if (theirs - own).abs() > TOLERANCE * own {
                expectation
                    .problems
                    .push(format!("{name} is {theirs:.4} s in netqueue and {own:.4} s in the server"));
            }
        }
    }
}

/// The clients of an experiment and the schedule by which the server accepts them.
#[derive(Clone, Copy)]
struct Crowd {
    port: u16,
    cookies: u64,
    fast_open: bool,
    clients: usize,
    /// Pause before the first accept().
    pause: Duration,
    /// Interval between two accept() calls.
    pace: Duration,
}

/// Half a second is far more than a busy machine adds.
const LATE: Crowd = Crowd {
    port: 8132,
    cookies: 1,
    fast_open: false,
    clients: 20,
    pause: Duration::from_millis(500),
    pace: Duration::ZERO,
};

fn slow(fixture: &Fixture<'_>) -> Result<Expectation> {
    let pace = Duration::from_millis(20);
    traced(fixture, Crowd { port: 8130, clients: 100, pause: Duration::ZERO, pace, ..LATE })
}

fn fast_open(fixture: &Fixture<'_>) -> Result<Expectation> {
    let mut expectation = traced(fixture, Crowd { port: 8138, fast_open: true, ..LATE })?;
    let opened = fixture.netns.run(|| counters::tcp_ext("TCPFastOpenPassive"))?;
    if opened != LATE.clients as u64 {
        expectation
            .problems
            .push(format!("the incident did not happen: {opened} SYNs with data opened a connection"));
    }
    Ok(expectation)
}

fn cookies(fixture: &Fixture<'_>) -> Result<Expectation> {
    let mut expectation = traced(fixture, Crowd { cookies: 2, ..LATE })?;
    expectation.kernel.push((Counter::SyncookiesRecv, Amount::Exactly(20)));
    Ok(expectation)
}

/// Connects and accepts the clients, and compares netqueue's waiting times with the server's.
fn traced(fixture: &Fixture<'_>, crowd: Crowd) -> Result<Expectation> {
    /// Client and server, both without Fast Open cookies: the first SYN already carries data.
    const FAST_OPEN: u64 = 0x1 | 0x2 | 0x4 | 0x200;
    let Crowd { port, cookies, fast_open, clients: count, pause, pace } = crowd;
    let listener = fixture.netns.run(move || {
        sysctl::defaults()?;
        sysctl::ensure("ipv4/tcp_syncookies", cookies)?;
        let listener = Listener::ipv4(port, 128)?;
        if fast_open {
            sysctl::ensure("ipv4/tcp_fastopen", FAST_OPEN)?;
            listener.fast_open(4096)?;
        }
        Ok(listener)
    })?;
    let watch = Watch::begin(fixture, listener.address())?;
    let (listener, clients, trace) = fixture.netns.run(move || {
        let come = if fast_open { connect_fast_open } else { connect };
        let clients = Trace::connect(&listener, count, come)?;
        thread::sleep(pause);
        let trace = Trace::accept(&listener, &clients, pace)?;
        Ok((listener, clients, trace))
    })?;
    let mut expectation = undisturbed();
    expectation.problems.extend(watch.expect(
        "when all are accepted",
        passed,
        Some((count as u64, count as u64)),
    )?);
    if let Some(said) = watch.traffic()?.and_then(|traffic| traffic.accept_wait_seconds) {
        trace.compare(&said, &mut expectation);
    }
    expectation.open.push(Box::new((listener, clients, trace.open)));
    Ok(expectation)
}

fn blocking(fixture: &Fixture<'_>) -> Result<Expectation> {
    const CLIENTS: u64 = 20;
    const APART: Duration = Duration::from_millis(50);
    /// Upper bound of a wait in seconds: a small part of the server's sleep in accept().
    const AT_ONCE: f64 = 0.025;
    let listener = fixture.netns.run(|| {
        sysctl::defaults()?;
        Listener::ipv4(8131, 128)
    })?;
    let watch = Watch::begin(fixture, listener.address())?;
    let (listener, slept) = fixture.netns.run(move || {
        let server = std::net::TcpListener::from(listener.share()?);
        let server = thread::spawn(move || {
            let start = Instant::now();
            let mut accepted = Vec::new();
            while accepted.len() < CLIENTS as usize {
                accepted.push(server.accept()?);
            }
            Ok::<_, std::io::Error>(start.elapsed())
        });
        for _ in 0..CLIENTS {
            thread::sleep(APART);
            drop(connect(listener.loopback())?);
        }
        let slept = server.join().ok().context("the accepting thread panicked")??;
        Ok((listener, slept))
    })?;
    let mut expectation = undisturbed();
    expectation.problems.extend(watch.expect("when all are accepted", passed, Some((CLIENTS, CLIENTS)))?);
    if let Some(waits) = watch.traffic()?.and_then(|traffic| traffic.accept_wait_seconds) {
        let p90 = waits.p90.unwrap_or(f64::MAX);
        expectation.measured.push(format!(
            "the server was in accept() for {:.1} s; of the connections, 9 of 10 waited less than {:.1} ms",
            slept.as_secs_f64(),
            p90 * 1e3
        ));
        if p90 > AT_ONCE {
            expectation
                .problems
                .push(format!("connections seem to have waited {p90} s for a server that waited for them"));
        }
    }
    expectation.open.push(Box::new(listener));
    Ok(expectation)
}

fn closed(fixture: &Fixture<'_>) -> Result<Expectation> {
    const QUEUED: u64 = 9;
    let listener = fixture.netns.run(|| {
        sysctl::defaults()?;
        Listener::ipv4(8133, 8)
    })?;
    let address = listener.address();
    let watch = Watch::begin(fixture, address)?;
    let clients = fixture.netns.run(move || {
        let clients = listener.fill(QUEUED as u32, false)?;
        drop(listener);
        Ok(clients)
    })?;
    let seen = |row: &netqueue_api::Listener| {
        let traffic = row.traffic.as_ref()?;
        let waits = traffic.accept_wait_seconds.as_ref()?.count;
        Some((traffic.established, traffic.accepted?, traffic.abandoned?, waits))
    };
    let mut expectation =
        Expectation { kernel: vec![(Counter::OutRsts, Amount::Exactly(QUEUED))], ..Expectation::default() };
    expectation.problems.extend(watch.expect(
        "established, accepted, abandoned and measured",
        seen,
        Some((QUEUED, 0, QUEUED, 0)),
    )?);
    expectation.open.push(Box::new(clients));
    Ok(expectation)
}

fn dead(fixture: &Fixture<'_>) -> Result<Expectation> {
    const CLIENTS: u64 = 10;
    let listener = fixture.netns.run(|| {
        sysctl::defaults()?;
        Listener::ipv4(8134, 16)
    })?;
    let watch = Watch::begin(fixture, listener.address())?;
    let (listener, taken) = fixture.netns.run(move || {
        for (n, client) in listener.fill(CLIENTS as u32, false)?.into_iter().enumerate() {
            client.set_linger((n % 2 == 0).then_some(Duration::ZERO))?;
        }
        thread::sleep(Duration::from_millis(200));
        let mut taken = 0;
        while listener.try_accept()?.is_some() {
            taken += 1;
        }
        Ok((listener, taken))
    })?;
    let mut expectation =
        Expectation { kernel: vec![(Counter::ListenDrops, Amount::Exactly(0))], ..Expectation::default() };
    if taken != CLIENTS {
        expectation.problems.push(format!("the server accepted {taken} of {CLIENTS} connections"));
    }
    expectation.problems.extend(watch.expect("when all are accepted", passed, Some((CLIENTS, CLIENTS)))?);
    let measured = |row: &netqueue_api::Listener| {
        row.traffic.as_ref()?.accept_wait_seconds.as_ref().map(|waits| waits.count)
    };
    expectation.problems.extend(watch.expect("waits", measured, Some(CLIENTS))?);
    expectation.open.push(Box::new(listener));
    Ok(expectation)
}

/// Numbers of established and of accepted connections.
fn passed(row: &netqueue_api::Listener) -> Option<(u64, u64)> {
    let Traffic { established, accepted, .. } = row.traffic.as_ref()?;
    Some((*established, (*accepted)?))
}

fn undisturbed() -> Expectation {
    Expectation {
        kernel: vec![(Counter::ListenDrops, Amount::Exactly(0)), (Counter::OutRsts, Amount::Exactly(0))],
        events: Some(vec![]),
        ..Expectation::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_servers_own_percentiles_are_those_of_its_list() {
        let trace =
            Trace { waits: (1..=100).map(|n| Duration::from_millis(20 * n)).collect(), open: Vec::new() };
        assert_eq!((trace.quantile(0.5), trace.quantile(0.99)), (1.0, 1.98));
        assert!((trace.mean() - 1.01).abs() < 1e-9);
    }
}
