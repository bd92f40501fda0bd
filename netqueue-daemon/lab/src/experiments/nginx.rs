//! Incidents of a real nginx: stopped, with too short a queue, or closing connections still in use.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use nix::sys::signal::Signal;
use socket2::Socket;

use super::wait_for;
use crate::counters::{self, Counter};
use netqueue_api::Verdict;

use crate::diagnosis;
use crate::expectation::{
    Amount, Expectation, ExpectedListener, Experiment, Fixture, Scenario, Share, cause, stage,
};
use crate::netns::Netns;
use crate::programs::{self, Folder, Program};
use crate::sockets::{connect, connect_nonblocking, localhost};
use crate::sysctl;
use crate::tcp_table::{State, TcpTable};

pub(super) const STOPPED: Experiment = Experiment {
    number: "71",
    name: "nginx-stopped",
    incident: "a real nginx is stopped (SIGSTOP) while clients come",
    verdict: "nginx, by name, accepts nothing and its queue is full: a larger backlog would not help",
    provoke: Scenario::Watching(stopped),
};

pub(super) const SHORT_QUEUE: Experiment = Experiment {
    number: "72",
    name: "nginx-backlog-4",
    incident: "a real nginx with `listen ... backlog=4`, and bursts of 16 clients",
    verdict: "a burst was larger than the backlog, which nginx itself asked for; with the number that would have done; what cookies made of it is named as its consequence",
    provoke: Scenario::Watching(short_queue),
};

pub(super) const KEEP_ALIVE: Experiment = Experiment {
    number: "73",
    name: "nginx-keep-alive",
    incident: "a real nginx with keepalive_timeout 2, and 5 clients that use their connections again after that, time after time",
    verdict: "not a queue problem: nginx had closed the connections before its clients used them again; the first race makes netqueue measure for how long nginx keeps idle connections",
    provoke: Scenario::Watching(keep_alive),
};

const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n";
/// Time limit for a server to start on a busy machine.
const STARTS_WITHIN: Duration = Duration::from_secs(20);
const PATIENCE: Duration = Duration::from_secs(10);

/// An nginx with one listener.
struct Nginx {
    address: SocketAddr,
    program: Program,
    _folder: Folder,
}

impl Nginx {
    /// Starts nginx in `netns` and waits until it listens.
    fn start(netns: &Netns, port: u16, listen: &'static str, more: &'static str) -> Result<Self> {
        programs::find("nginx")?;
        netns.run(move || {
            sysctl::defaults()?;
            let folder = Folder::create(&format!("nginx-{port}"))?;
            let conf = format!(
                "user www-data; daemon off; worker_processes 1; pid nginx.pid; error_log stderr;
events {{ worker_connections 1024; }}
http {{
  access_log off;
  client_body_temp_path body; proxy_temp_path proxy; fastcgi_temp_path fastcgi; uwsgi_temp_path uwsgi; scgi_temp_path scgi;
  {more}
  server {{ listen 127.0.0.1:{port} {listen}; location / {{ return 200 \"hello\"; }} }}
}}
"
            );
            folder.write("nginx.conf", &conf)?;
            let place = folder.path().display().to_string();
            let program = Program::start("nginx", &["-p", &place, "-c", "nginx.conf", "-e", "stderr"], &folder)?;
            let mut nginx = Self { address: localhost(Ipv4Addr::LOCALHOST, port), program, _folder: folder };
            wait_until_it_listens(&mut nginx.program, port)?;
            request(&mut client(nginx.address)?).context("nginx does not answer")?;
            Ok(nginx)
        })
    }

    fn expected(&self, drops: Vec<Share>, resets: Option<Vec<(&'static str, Amount)>>) -> ExpectedListener {
        ExpectedListener { address: self.address, drops, resets, sole: true }
    }
}

/// Waits until nginx listens on this port of the calling thread's namespace.
pub(super) fn wait_until_it_listens(nginx: &mut Program, port: u16) -> Result<()> {
    let start = Instant::now();
    // Read the table instead of connecting: a refused connection is a reset that would need an
    // explanation.
    while !listens(port)? {
        nginx.is_running()?;
        ensure!(start.elapsed() < STARTS_WITHIN, "nginx does not listen on port {port}");
        thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}

/// Returns whether a socket listens on this port of the calling thread's namespace.
fn listens(port: u16) -> Result<bool> {
    Ok(TcpTable::read()?.count(port, State::Listen).servers > 0)
}

fn client(to: SocketAddr) -> Result<TcpStream> {
    let client = TcpStream::from(connect(to)?);
    client.set_read_timeout(Some(PATIENCE))?;
    Ok(client)
}

/// Sends a request that keeps the connection alive, and reads the whole answer.
fn request(client: &mut TcpStream) -> Result<()> {
    client.write_all(REQUEST)?;
    let (mut answer, mut part) = (Vec::new(), [0; 1024]);
    while !answer.ends_with(b"hello") {
        let count = client.read(&mut part)?;
        ensure!(count > 0, "nginx closed the connection within its answer");
        answer.extend_from_slice(&part[..count]);
    }
    Ok(())
}

fn stopped(fixture: &Fixture<'_>) -> Result<Expectation> {
    const BACKLOG: u64 = 32;
    const CLIENTS: u64 = 100;
    let nginx = Nginx::start(fixture.netns, 8096, "backlog=32", "")?;
    nginx.program.signal_all(Signal::SIGSTOP)?;
    let address = nginx.address;
    let clients = fixture.netns.run(move || {
        let clients = (0..CLIENTS).map(|_| connect_nonblocking(address)).collect::<Result<Vec<_>>>()?;
        // Each client that found no room has retransmitted its SYN.
        wait_for(Counter::ListenOverflows, 2 * (CLIENTS - BACKLOG - 1), PATIENCE)?;
        Ok(clients)
    })?;
    let full = Share {
        cause: cause::ACCEPT_QUEUE_FULL,
        stages: stage::ANY,
        amount: Amount::All(Counter::ListenDrops),
    };
    let mut expectation = Expectation {
        kernel: vec![
            (Counter::ListenOverflows, Amount::AtLeast(CLIENTS - BACKLOG - 1)),
            (Counter::ListenDrops, Amount::All(Counter::ListenOverflows)),
        ],
        listeners: vec![nginx.expected(vec![full], Some(vec![]))],
        ..Expectation::default()
    };
    named(
        fixture,
        &nginx,
        "accept_queue_stalled",
        &["nginx (pid", "backlog 32, set by the listen() call"],
        &mut expectation,
    )?;
    expectation.open.push(Box::new((nginx, clients)));
    Ok(expectation)
}

fn short_queue(fixture: &Fixture<'_>) -> Result<Expectation> {
    const CLIENTS: usize = 16;
    const DROPS: u64 = 20;
    let nginx = Nginx::start(fixture.netns, 8097, "backlog=4", "")?;
    let address = nginx.address;
    let clients = fixture.netns.run(move || {
        let mut clients: Vec<Socket> = Vec::new();
        let start = Instant::now();
        while counters::of_this_thread()?.get(Counter::ListenOverflows) < DROPS {
            ensure!(start.elapsed() < 2 * PATIENCE, "nginx accepted burst after burst of {CLIENTS}");
            let first = clients.len();
            for _ in 0..CLIENTS {
                clients.push(connect_nonblocking(address)?);
            }
            thread::sleep(Duration::from_millis(50));
            for mut client in &clients[first..] {
                // A client that found no room has no connection yet.
                let _ = client.write(REQUEST);
            }
        }
        // Clients that found no room connect a second later, and send their request then.
        thread::sleep(Duration::from_millis(2500));
        for mut client in &clients {
            client.write_all(REQUEST)?;
        }
        Ok(clients)
    })?;
    let full = Share {
        cause: cause::ACCEPT_QUEUE_FULL,
        stages: stage::ANY,
        amount: Amount::All(Counter::ListenDrops),
    };
    let mut expectation = Expectation {
        kernel: vec![
            (Counter::ListenOverflows, Amount::AtLeast(DROPS)),
            (Counter::ListenDrops, Amount::All(Counter::ListenOverflows)),
        ],
        listeners: vec![nginx.expected(vec![full], None)],
        ..Expectation::default()
    };
    let words = ["backlog 4, set by the listen() call", "A backlog of"];
    named(fixture, &nginx, "accept_queue_burst", &words, &mut expectation)?;
    expectation.open.push(Box::new((nginx, clients)));
    Ok(expectation)
}

fn keep_alive(fixture: &Fixture<'_>) -> Result<Expectation> {
    const CLIENTS: u64 = 5;
    // Idle connections are followed from the first race on.
    const ROUNDS: u64 = 4;
    const RESETS: u64 = CLIENTS * ROUNDS;
    let nginx = Nginx::start(fixture.netns, 8098, "", "keepalive_timeout 2;")?;
    let address = nginx.address;
    let clients = fixture.netns.run(move || {
        let mut all = Vec::new();
        for round in 1..=ROUNDS {
            all.extend(race(address, CLIENTS)?);
            wait_for(Counter::OutRsts, CLIENTS * round, PATIENCE)?;
        }
        Ok(all)
    })?;
    let mut expectation = Expectation {
        kernel: vec![(Counter::OutRsts, Amount::Exactly(RESETS)), (Counter::ListenDrops, Amount::Exactly(0))],
        resets: vec![(cause::AFTER_CLOSE, Amount::Exactly(RESETS))],
        ..Expectation::default()
    };
    let words = ["reached nginx (pid", "It closes connections that have been idle for"];
    named(fixture, &nginx, "keepalive_race", &words, &mut expectation)?;
    expectation.open.push(Box::new((nginx, clients)));
    Ok(expectation)
}

/// Sends a request on each of `count` connections that nginx has closed for being idle.
fn race(address: SocketAddr, count: u64) -> Result<Vec<TcpStream>> {
    let mut clients = (0..count).map(|_| client(address)).collect::<Result<Vec<_>>>()?;
    clients.iter_mut().try_for_each(request)?;
    let start = Instant::now();
    // No client reads from its connection, so none learns of the close.
    while TcpTable::read()?.count(address.port(), State::Established).servers > 0 {
        ensure!(start.elapsed() < PATIENCE, "nginx kept its connections in spite of keepalive_timeout 2");
        thread::sleep(Duration::from_millis(20));
    }
    clients.iter_mut().try_for_each(|client| client.write_all(REQUEST))?;
    Ok(clients)
}

/// Time limit for a verdict: it takes 15 s to tell a burst from an overload.
const TOLD_WITHIN: Duration = Duration::from_secs(25);

/// Polls until there is a verdict of `rule` on the listener whose summary contains `words`.
/// [`diagnosis::expected`] defines which verdict of the experiment comes first.
fn named(
    fixture: &Fixture<'_>,
    nginx: &Nginx,
    rule: &str,
    words: &[&str],
    expectation: &mut Expectation,
) -> Result<()> {
    let Some(server) = fixture.server else { return Ok(()) };
    let (start, since) = (Instant::now(), std::time::SystemTime::now() - Duration::from_secs(60));
    loop {
        let said = diagnosis::at_port(server, fixture.netns.inode(), nginx.address.port(), since)?;
        let says = |verdict: &&Verdict| words.iter().all(|word| verdict.summary.contains(word));
        let right = said.iter().filter(|verdict| verdict.rule == rule).find(says);
        if let Some(right) = right {
            expectation.measured.push(format!("of nginx it says: {}", right.summary));
            return Ok(());
        }
        if start.elapsed() > TOLD_WITHIN {
            let said: Vec<_> = said.iter().map(diagnosis::words).collect();
            expectation
                .problems
                .push(format!("{rule} with the words {words:?} was to be said, and it says {said:?}"));
            return Ok(());
        }
        thread::sleep(Duration::from_millis(100));
    }
}
