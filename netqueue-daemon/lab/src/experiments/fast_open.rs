//! TCP Fast Open: a SYN with data makes a connection at once.
//! One packet thus passes through both stages at which an accept queue can be full.

use anyhow::Result;

use super::load::{Processes, clients_in_batches, wait_until_quiet};
use crate::counters::{self, Counter};
use crate::expectation::{
    Amount, Expectation, ExpectedListener, Experiment, Fixture, Scenario, Share, cause, stage,
};
use crate::sockets::Listener;
use crate::sysctl;
use crate::watch::Watch;
use crate::worker::{Acceptor, Clients, spawn_acceptor, spawn_clients};
use netqueue_api::Ghosts;

pub(super) const FAST_OPEN: Experiment = Experiment {
    number: "25",
    name: "fast-open",
    incident: "listen(8) with TCP_FASTOPEN and without cookies, one process accepts too slowly, 4 processes send SYNs with data \
               for 2 s",
    verdict: "accept queue full: each drop counts once, although a SYN with data is tried as a whole handshake first, and no \
              client believes to be connected that is not",
    provoke: Scenario::Watching(fast_open),
};

const SECONDS: u64 = 2;
/// Client and server, both without Fast Open cookies: the first SYN already carries data.
const EVERYWHERE: u64 = 0x1 | 0x2 | 0x4 | 0x200;

fn fast_open(fixture: &Fixture<'_>) -> Result<Expectation> {
    let listener = fixture.netns.run(listener)?;
    let watch = Watch::begin(fixture, listener.address())?;
    let (mut expectation, listener) = fixture.netns.run(move || overflow(listener))?;
    expectation.problems.extend(watch.expect("at the end", |row| row.ghosts, Ghosts::default())?);
    expectation.open = vec![Box::new(listener)];
    Ok(expectation)
}

fn listener() -> Result<Listener> {
    sysctl::defaults()?;
    sysctl::ensure("ipv4/tcp_syncookies", 0)?;
    sysctl::ensure("ipv4/tcp_fastopen", EVERYWHERE)?;
    // Otherwise the first reset disables Fast Open for an hour on some kernels.
    sysctl::ensure("ipv4/tcp_fastopen_blackhole_timeout_sec", 0)?;
    let listener = Listener::ipv4(8025, 8)?;
    listener.fast_open(4096)?;
    Ok(listener)
}

fn overflow(listener: Listener) -> Result<(Expectation, Listener)> {
    let mut acceptors = Processes::default();
    acceptors.0.push(spawn_acceptor(&listener, Acceptor { pause_ms: 2, seconds: SECONDS })?);
    let target = [listener.loopback()];
    let how = Clients { fast_open: true, ..clients_in_batches(SECONDS) };
    let mut clients = Processes::default();
    for _ in 0..4 {
        clients.0.push(spawn_clients(&target, how.clone())?);
    }
    clients.wait()?;
    wait_until_quiet()?;
    drop(acceptors);

    let opened = counters::tcp_ext("TCPFastOpenPassive")?;
    let mut problems = Vec::new();
    if opened == 0 {
        problems.push("the incident did not happen: no SYN with data opened a connection".to_owned());
    }
    let full = |stages, amount| Share { cause: cause::ACCEPT_QUEUE_FULL, stages, amount };
    let expectation = Expectation {
        kernel: vec![
            (Counter::ListenOverflows, Amount::AtLeast(100)),
            (Counter::SyncookiesSent, Amount::Exactly(0)),
        ],
        listeners: vec![ExpectedListener {
            address: listener.address(),
            drops: vec![
                full(stage::SYN, Amount::AtLeast(1)),
                full(stage::ACK, Amount::AtLeast(0)),
                full(stage::COOKIE_ACK, Amount::Exactly(0)),
                // A client whose Fast Open was refused falls back to a handshake, and without cookies its SYN
                // can find
                // the SYN queue full.
                Share {
                    cause: cause::SYN_QUEUE_FULL,
                    stages: stage::SYN,
                    amount: Amount::All(Counter::ReqQFullDrop),
                },
            ],
            resets: None,
            sole: false,
        }],
        measured: vec![format!("{opened} connections were opened by a SYN with data (TCPFastOpenPassive)")],
        problems,
        ..Expectation::default()
    };
    Ok((expectation, listener))
}
