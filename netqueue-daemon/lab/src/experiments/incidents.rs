//! Typical incidents of on-call work, replayed step by step with netqueue's expected diagnosis of each.

use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Result, bail};
use socket2::Socket;

use super::load::Processes;
use super::load::wait_until_none;
use super::wait_for;
use crate::counters::Counter;
use netqueue_api::Verdict;

use crate::diagnosis;
use crate::expectation::{Amount, Expectation, Experiment, Fixture, LabSettings, Scenario, cause};
use crate::sockets::{Listener, PATIENCE, connect, connect_nonblocking, send_byte};
use crate::sysctl;
use crate::tcp_table::State;
use crate::worker::{Acceptor, spawn_acceptor};

pub(super) const CRAWLER: Experiment = Experiment {
    number: "I1",
    name: "crawler-start",
    incident: "a crawler starts 500 connections at once against listen(1024) with somaxconn 128; somaxconn is raised to 10000 and it \
               starts again; then the server listens again",
    verdict: "a burst against a queue that somaxconn limits to 128; after the sysctl was raised: the old limit is still in force until \
              the server listens again; after that: nothing",
    provoke: Scenario::Watching(crawler),
};

pub(super) const IDLE_CONNECTIONS: Experiment = Experiment {
    number: "I2",
    name: "idle-connections",
    incident: "a server closes connections that were idle for 2 s; 8 clients keep theirs longer and send their next request on them",
    verdict: "a keep-alive race, no queue problem: the server closes after about 2 s, clients must give up idle connections earlier",
    provoke: Scenario::Watching(idle_connections),
};

pub(super) const MORE_WEIGHT: Experiment = Experiment {
    number: "I4",
    name: "more-weight",
    incident: "a server that accepts 50 connections a second behind listen(128) is given 200 a second, for 12 s",
    verdict: "accept queue full because the process accepts too slowly: no backlog would have been enough",
    provoke: Scenario::Inside(more_weight),
};

const CRAWLER_PORT: u16 = 8201;
const IDLE_PORT: u16 = 8202;
const WEIGHT_PORT: u16 = 8204;
/// Time limit of a verdict: it follows the counters, which the daemon polls twice a second.
const SAID_WITHIN: Duration = Duration::from_secs(3);
/// Distance between steps: charges are dated in intervals of 5 s, which two steps must not share.
const APART: Duration = Duration::from_millis(5500);

/// Limits of the queue in a burst, step by step, with the expected first verdict.
const STEPS: [(&str, Option<&str>); 3] = [
    ("somaxconn 128", Some("accept_queue_burst")),
    ("somaxconn raised", Some("limit_needs_relisten")),
    ("listening again", None),
];

fn crawler(fixture: &Fixture<'_>) -> Result<Expectation> {
    const BACKLOG: i32 = 1024;
    let (listener, _server) = fixture.netns.run(|| {
        sysctl::defaults()?;
        sysctl::ensure("core/somaxconn", 128)?;
        let listener = Listener::ipv4(CRAWLER_PORT, BACKLOG)?;
        let server = spawn_acceptor(&listener, Acceptor { pause_ms: 2, seconds: 60 })?;
        Ok((listener, Processes(vec![server])))
    })?;
    let mut expectation =
        Expectation { kernel: vec![(Counter::ListenDrops, Amount::AtLeast(300))], ..Expectation::default() };
    let listener = Arc::new(listener);
    let mut charged = None;
    for (n, (step, expected)) in STEPS.into_iter().enumerate() {
        if let Some(charged) = charged {
            thread::sleep(APART.saturating_sub(Instant::now().duration_since(charged)));
        }
        let since = SystemTime::now();
        let at = Arc::clone(&listener);
        let clients = fixture.netns.run(move || {
            match n {
                0 => {}
                1 => sysctl::ensure("core/somaxconn", 10_000)?,
                _ => at.listen_again(BACKLOG)?,
            }
            crawl(&at)
        })?;
        if let Some(server) = fixture.server {
            let said = said_first(expected, || {
                diagnosis::at_port(server, fixture.netns.inode(), CRAWLER_PORT, since)
            })?;
            match said {
                Ok(words) => expectation.measured.push(format!("{step}: {words}")),
                Err(wrong) => expectation.problems.push(format!("{step}: {wrong}")),
            }
        }
        drop(clients);
        charged = Some(Instant::now());
        // Clients that remain of this step must not count in the next one.
        let at = Arc::clone(&listener);
        fixture.netns.run(move || {
            at.wait_for_queue(0)?;
            wait_until_none(CRAWLER_PORT, &[State::SynReceived, State::Established])
        })?;
    }
    expectation.open = vec![Box::new(listener)];
    Ok(expectation)
}

/// Connects 500 clients at once and keeps them for one second more.
fn crawl(listener: &Listener) -> Result<Vec<Socket>> {
    let clients = (0..500)
        .map(|_| {
            let client = connect_nonblocking(listener.loopback())?;
            client.set_linger(Some(Duration::ZERO))?;
            Ok(client)
        })
        .collect::<Result<Vec<_>>>()?;
    thread::sleep(Duration::from_millis(1200));
    Ok(clients)
}

/// Polls until the expected verdict comes first.
/// If none is expected, checks that there is none for the whole time.
fn said_first(
    expected: Option<&str>,
    ask: impl Fn() -> Result<Vec<Verdict>>,
) -> Result<Result<String, String>> {
    let start = Instant::now();
    loop {
        let verdicts = ask()?;
        let first = verdicts.first();
        let words = first.map_or("nothing".to_owned(), diagnosis::words);
        let right = first.map(diagnosis::root) == expected;
        let over = start.elapsed() > SAID_WITHIN;
        match (right, expected) {
            (true, Some(_)) => return Ok(Ok(words)),
            (true, None) if over => return Ok(Ok(words)),
            (false, None) => return Ok(Err(format!("nothing must be said, and this was: {words}"))),
            (false, Some(rule)) if over => {
                return Ok(Err(format!("the first verdict must come from {rule}, and this was: {words}")));
            }
            _ => thread::sleep(Duration::from_millis(100)),
        }
    }
}

fn idle_connections(fixture: &Fixture<'_>) -> Result<Expectation> {
    let since = SystemTime::now();
    let race = Arc::new(fixture.netns.run(Race::begin)?);
    let limit = || -> Result<_> {
        let Some(server) = fixture.server else { return Ok(None) };
        let verdicts = diagnosis::at_port(server, fixture.netns.inode(), IDLE_PORT, since)?;
        let fact = |name| verdicts.first().and_then(|first| diagnosis::fact(first, name));
        Ok(fact("server_idle_limit_at_least").zip(fact("server_idle_limit_at_most")))
    };
    let mut known = None;
    let mut rounds = 0;
    while rounds < ROUNDS && (rounds < FEWEST || known.is_none()) {
        rounds += 1;
        let racing = Arc::clone(&race);
        fixture.netns.run(move || racing.round(rounds))?;
        known = limit()?;
    }
    let resets = rounds * CLIENTS;
    let mut expectation = Expectation {
        kernel: vec![(Counter::ListenDrops, Amount::Exactly(0)), (Counter::OutRsts, Amount::Exactly(resets))],
        resets: vec![(cause::AFTER_CLOSE, Amount::Exactly(resets))],
        open: vec![Box::new(race)],
        ..Expectation::default()
    };
    if fixture.server.is_some() {
        let start = Instant::now();
        while known.is_none() && start.elapsed() < SAID_WITHIN {
            thread::sleep(Duration::from_millis(100));
            known = limit()?;
        }
        match known {
            Some((least, most)) => {
                expectation
                    .measured
                    .push(format!("idle for {least:.2} to {most:.2} s before the server closes"));
                // netqueue takes both bounds from the kernel's clock, which has coarse ticks.
                if least > IDLE.as_secs_f64() + 0.1 || most < IDLE.as_secs_f64() - 0.1 {
                    expectation.problems.push(format!("the server closes after {} s", IDLE.as_secs()));
                }
            }
            None => expectation
                .problems
                .push("netqueue does not say how long the server lets connections idle".to_owned()),
        }
    }
    Ok(expectation)
}

/// Time for which the server lets connections idle.
const IDLE: Duration = Duration::from_secs(2);

/// Number of clients in one round.
const CLIENTS: u64 = 8;
/// Minimum number of rounds: one for netqueue to notice the race, one for it to observe the ends.
const FEWEST: u64 = 2;
/// Maximum number of rounds: netqueue polls about once a second, and misses shorter connections.
const ROUNDS: u64 = 8;

/// A server that closes idle connections, and clients that use theirs a moment later.
struct Race {
    listener: Listener,
    clients: Mutex<Vec<Socket>>,
}

impl Race {
    fn begin() -> Result<Self> {
        sysctl::defaults()?;
        Ok(Self { listener: Listener::ipv4(IDLE_PORT, 128)?, clients: Mutex::default() })
    }

    /// Makes all clients of a round lose the race; `rounds` includes this one.
    fn round(&self, rounds: u64) -> Result<()> {
        let mut kept: Vec<(Instant, Option<Socket>)> = Vec::new();
        let mut clients = Vec::new();
        for _ in 0..CLIENTS {
            let client = connect(self.listener.loopback())?;
            let connection = self.listener.accept()?;
            send_byte(&client)?;
            read_byte(&connection)?;
            send_byte(&connection)?;
            read_byte(&client)?;
            kept.push((Instant::now(), Some(connection)));
            clients.push(client);
            thread::sleep(Duration::from_millis(130));
        }
        for (since, connection) in &mut kept {
            thread::sleep(IDLE.saturating_sub(since.elapsed()));
            drop(connection.take());
        }
        thread::sleep(Duration::from_millis(50));
        clients.iter().try_for_each(send_byte)?;
        self.clients.lock().unwrap_or_else(PoisonError::into_inner).extend(clients);
        wait_for(Counter::OutRsts, rounds * CLIENTS, PATIENCE)
    }
}

fn read_byte(mut socket: &Socket) -> Result<()> {
    socket.set_nonblocking(false)?;
    socket.set_read_timeout(Some(PATIENCE))?;
    let read = std::io::Read::read(&mut socket, &mut [0; 1])?;
    if read == 0 {
        bail!("the other side closed before it was to");
    }
    Ok(())
}

fn more_weight(_: &LabSettings) -> Result<Expectation> {
    const CLIENTS: u32 = 2400;
    const ARRIVAL: Duration = Duration::from_millis(5);
    sysctl::defaults()?;
    let listener = Listener::ipv4(WEIGHT_PORT, 128)?;
    let server = spawn_acceptor(&listener, Acceptor { pause_ms: 20, seconds: 60 })?;
    let start = Instant::now();
    let mut clients = Vec::new();
    for n in 0..CLIENTS {
        clients.push(connect_nonblocking(listener.loopback())?);
        thread::sleep((ARRIVAL * n).saturating_sub(start.elapsed()));
    }
    // Clients that were not let in give up without a packet: counters must not change in the comparison.
    clients.retain(|client| client.peer_addr().is_ok());
    Ok(Expectation {
        kernel: vec![
            (Counter::ListenDrops, Amount::AtLeast(100)),
            (Counter::ListenOverflows, Amount::All(Counter::ListenDrops)),
        ],
        open: vec![Box::new((listener, Processes(vec![server]), clients))],
        ..Expectation::default()
    })
}
