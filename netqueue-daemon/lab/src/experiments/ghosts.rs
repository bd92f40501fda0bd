//! Ghosts: clients whose connection is established on their side only.
//! The ACK of their cookie found the accept queue full. The experiment counts them in the kernel's table of
//! sockets, by comparing the two ends.

use std::collections::HashSet;
use std::net::SocketAddr;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use socket2::Socket;

use super::wait_for;
use crate::counters::{self, Counter};
use crate::expectation::{
    Amount, Expectation, ExpectedListener, Experiment, Fixture, Scenario, Share, cause, stage,
};
use crate::sockets::{Listener, PATIENCE, connect_nonblocking, send_byte};
use crate::sysctl;
use crate::tcp_table::{State, TcpTable};
use crate::watch::Watch;
use netqueue_api::{Ghosts, Handshakes};

pub(super) const GHOSTS: Experiment = Experiment {
    number: "10",
    name: "ghosts",
    incident: "listen(32), one accept each 20 ms, 200 clients connect at once, tcp_syncookies=1; then everything is accepted, and \
               four of the clients the server does not know speak",
    verdict: "clients wait for a server that has forgotten them: their cookies came back while the accept queue was full. One that \
              speaks is let in while its cookie is valid, and reset afterwards",
    provoke: Scenario::Watching(with_cookies),
};

pub(super) const NO_GHOSTS: Experiment = Experiment {
    number: "10b",
    name: "ghosts-without-cookies",
    incident: "the same with tcp_syncookies=0",
    verdict: "more drops and no ghosts: every client that believes it is connected is served, the others are still asking",
    provoke: Scenario::Watching(without_cookies),
};

const CLIENTS: usize = 200;
const BACKLOG: i32 = 32;
/// Clients retransmit after 1 s, all within a few milliseconds: in this time most of them have.
const SLOW: Duration = Duration::from_millis(1500);
const PAUSE: Duration = Duration::from_millis(20);
/// Time at which clients without an answer are closed: between two of their retransmissions.
const GIVE_UP: Duration = Duration::from_millis(3500);
const QUIET_WITHIN: Duration = Duration::from_secs(15);
/// Minimum number of ghosts for an incident.
const FEWEST: usize = 24;
const SPEAKERS: usize = 2;

fn with_cookies(fixture: &Fixture<'_>) -> Result<Expectation> {
    let listener = fixture.netns.run(|| listener(8010, 1))?;
    let watch = Watch::begin(fixture, listener.address())?;
    let mut expectation = Expectation::default();
    let mut crowd = fixture.netns.run(move || Crowd::come(listener))?;
    let ghosts = crowd.ghosts.len();
    if ghosts < FEWEST {
        expectation
            .problems
            .push(format!("the incident did not happen: {ghosts} ghosts, at least {FEWEST} expected"));
    }
    expectation.measured.push(crowd.words());
    let all = ghosts as u64;
    expectation.problems.extend(watch.expect("when all is quiet", |row| row.ghosts.live, all)?);
    let total = match watch.until(|_| true)? {
        Some(seen) => seen.rows.iter().map(|row| row.ghosts.total).sum(),
        None => all,
    };
    // A client that a second SYN-ACK let in counts as a recovered ghost.
    let seen = Ghosts { live: all, total, recovered: total.saturating_sub(all), ..Ghosts::default() };
    expectation.problems.extend(watch.expect("when all is quiet", |row| row.ghosts, seen)?);

    let speakers = SPEAKERS as u64;
    crowd = fixture.netns.run(move || crowd.speak_in_time())?;
    let seen = Ghosts { live: seen.live - speakers, recovered: seen.recovered + speakers, ..seen };
    expectation.problems.extend(watch.expect("after two were let in", |row| row.ghosts, seen)?);

    crowd = fixture.netns.run(move || crowd.speak_too_late())?;
    let seen = Ghosts { live: seen.live - speakers, ended: speakers, ..seen };
    expectation.problems.extend(watch.expect("after two were reset", |row| row.ghosts, seen)?);
    expectation.problems.extend(watch.expect("at the end", unfinished, 0)?);

    expectation.kernel = vec![
        (Counter::ListenOverflows, Amount::AtLeast(all)),
        (Counter::SyncookiesSent, Amount::AtLeast(all)),
        (Counter::OutRsts, Amount::Exactly(speakers)),
    ];
    Ok(crowd.expectation(expectation, vec![(cause::EXPIRED_HANDSHAKE, Amount::Exactly(speakers))]))
}

fn without_cookies(fixture: &Fixture<'_>) -> Result<Expectation> {
    let listener = fixture.netns.run(|| listener(8110, 0))?;
    let watch = Watch::begin(fixture, listener.address())?;
    let mut expectation = Expectation::default();
    let crowd = fixture.netns.run(move || Crowd::come(listener))?;
    if !crowd.ghosts.is_empty() {
        expectation.problems.push(format!("{} clients have no socket at the server", crowd.ghosts.len()));
    }
    expectation.measured.push(crowd.words());
    expectation.problems.extend(watch.expect("when all is quiet", |row| row.ghosts, Ghosts::default())?);
    expectation.problems.extend(watch.expect("when all is quiet", unfinished, 0)?);
    expectation.kernel = vec![
        (Counter::ListenDrops, Amount::AtLeast(CLIENTS as u64 / 2)),
        (Counter::SyncookiesSent, Amount::Exactly(0)),
        (Counter::OutRsts, Amount::Exactly(0)),
    ];
    Ok(crowd.expectation(expectation, vec![]))
}

/// Number of handshakes whose ACK was dropped and that were not completed later.
/// No request is pending here, and none was ended.
fn unfinished(row: &netqueue_api::Listener) -> u64 {
    let Handshakes { suspended, recovered, .. } = row.handshakes;
    suspended.abs_diff(recovered)
}

fn listener(port: u16, cookies: u64) -> Result<Listener> {
    sysctl::defaults()?;
    sysctl::ensure("ipv4/tcp_syncookies", cookies)?;
    Listener::ipv4(port, BACKLOG)
}

/// The clients, and the server's sockets for them.
struct Crowd {
    listener: Listener,
    clients: Vec<Socket>,
    accepted: Vec<Socket>,
    /// Connected clients without a server socket that have not sent anything.
    ghosts: Vec<Socket>,
    /// Former ghosts that have sent a byte.
    spoken: Vec<Socket>,
    gave_up: usize,
}

impl Crowd {
    /// Connects all clients and accepts some in time, the others later; returns once nothing is under way.
    fn come(listener: Listener) -> Result<Self> {
        let start = Instant::now();
        let clients =
            (0..CLIENTS).map(|_| connect_nonblocking(listener.loopback())).collect::<Result<_>>()?;
        let mut crowd = Self {
            listener,
            clients,
            accepted: Vec::new(),
            ghosts: Vec::new(),
            spoken: Vec::new(),
            gave_up: 0,
        };
        while start.elapsed() < SLOW {
            crowd.accepted.extend(crowd.listener.try_accept()?);
            thread::sleep(PAUSE);
        }
        let port = crowd.listener.address().port();
        loop {
            let table = TcpTable::read()?;
            let accepted = crowd.accept_all()?;
            let asking = table.count(port, State::SynSent).clients;
            if asking + table.count(port, State::SynReceived).servers + accepted == 0 {
                break;
            }
            if asking > 0 && start.elapsed() > GIVE_UP {
                crowd.clients.retain(|client| client.peer_addr().is_ok());
                crowd.gave_up = CLIENTS - crowd.clients.len();
            }
            if start.elapsed() > QUIET_WITHIN {
                bail!("handshakes are still under way after {} s", QUIET_WITHIN.as_secs());
            }
            thread::sleep(PAUSE);
        }
        crowd.find_ghosts()?;
        Ok(crowd)
    }

    fn accept_all(&mut self) -> Result<usize> {
        let more = self.listener.accept_all()?;
        let count = more.len();
        self.accepted.extend(more);
        Ok(count)
    }

    /// Separates clients without a server socket, and compares their number with the kernel's table.
    fn find_ghosts(&mut self) -> Result<()> {
        let established = TcpTable::read()?.count(self.listener.address().port(), State::Established);
        let served: HashSet<SocketAddr> =
            self.accepted.iter().filter_map(|connection| connection.peer_addr().ok()?.as_socket()).collect();
        let known = |client: &Socket| {
            let address = client.local_addr().ok().and_then(|address| address.as_socket());
            address.is_some_and(|address| served.contains(&address))
        };
        let clients = std::mem::take(&mut self.clients);
        (self.clients, self.ghosts) = clients.into_iter().partition(known);
        let by_table = established.clients.checked_sub(established.servers);
        if by_table != Some(self.ghosts.len()) {
            bail!("{established:?} are connected, but {} clients are not served", self.ghosts.len());
        }
        Ok(())
    }

    fn words(&self) -> String {
        let Self { clients, accepted, ghosts, gave_up, .. } = self;
        format!(
            "{} clients are connected, the server has {} sockets, so {} are ghosts; {gave_up} gave up unanswered",
            clients.len() + ghosts.len(),
            accepted.len(),
            ghosts.len()
        )
    }

    /// Sends a byte from two ghosts, which returns their cookies while there is room.
    fn speak_in_time(mut self) -> Result<Self> {
        self.speak()?;
        let deadline = Instant::now() + PATIENCE;
        let mut let_in = 0;
        while let_in < SPEAKERS {
            if Instant::now() > deadline {
                bail!("{let_in} of {SPEAKERS} ghosts with a valid cookie were let in");
            }
            let_in += self.accept_all()?;
            thread::sleep(Duration::from_millis(5));
        }
        Ok(self)
    }

    /// Sends a byte from two more ghosts, after the listener has stopped to check cookies.
    /// The kernel does so minutes after the last cookie; the sysctl does it at once.
    fn speak_too_late(mut self) -> Result<Self> {
        sysctl::ensure("ipv4/tcp_syncookies", 0)?;
        let before = counters::of_this_thread()?.get(Counter::OutRsts);
        self.speak()?;
        wait_for(Counter::OutRsts, before + SPEAKERS as u64, Duration::from_secs(5))?;
        Ok(self)
    }

    fn speak(&mut self) -> Result<()> {
        let first = self.ghosts.len().saturating_sub(SPEAKERS);
        for ghost in self.ghosts.drain(first..) {
            send_byte(&ghost)?;
            self.spoken.push(ghost);
        }
        Ok(())
    }

    /// Adds the expectations at the end of the incident.
    fn expectation(self, expectation: Expectation, resets: Vec<(&'static str, Amount)>) -> Expectation {
        let share = |cause, stages, counter| Share { cause, stages, amount: Amount::All(counter) };
        Expectation {
            listeners: vec![ExpectedListener {
                address: self.listener.address(),
                drops: vec![
                    share(cause::ACCEPT_QUEUE_FULL, stage::ANY, Counter::ListenOverflows),
                    share(cause::SYN_QUEUE_FULL, stage::SYN, Counter::ReqQFullDrop),
                ],
                resets: Some(resets),
                sole: true,
            }],
            open: vec![Box::new(self)],
            ..expectation
        }
    }
}
