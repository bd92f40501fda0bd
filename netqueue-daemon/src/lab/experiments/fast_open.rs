//! TCP Fast Open: a SYN with data makes a connection at once, so that one packet passes through both stages at which an
//! accept queue can be full.

use anyhow::Result;

use super::load::{Processes, handshake_pause_us, wait_until_quiet};
use crate::lab::counters::{self, Counter};
use crate::lab::scene::{
    Amount, ExpectedListener, Experiment, Provoke, Scene, Settings, Share, cause, stage,
};
use crate::lab::sockets::Listener;
use crate::lab::sysctl;
use crate::lab::worker::{Acceptor, Clients, spawn_acceptor, spawn_clients};

pub(super) const FAST_OPEN: Experiment = Experiment {
    number: "25",
    name: "fast-open",
    incident: "listen(8) with TCP_FASTOPEN, one process accepts too slowly, 4 processes send SYNs with data for 2 s",
    verdict: "accept queue full: each drop counts once, although a SYN with data is tried as a whole handshake first",
    provoke: Provoke::Inside(fast_open),
};

const SECONDS: u64 = 2;
/// Client, server, and both without cookies: the first SYN already carries data.
const EVERYWHERE: u64 = 0x1 | 0x2 | 0x4 | 0x200;

fn fast_open(_: &Settings) -> Result<Scene> {
    sysctl::defaults()?;
    sysctl::ensure("ipv4/tcp_fastopen", EVERYWHERE)?;
    // Or the first reset turns Fast Open off for an hour, on some kernels.
    sysctl::ensure("ipv4/tcp_fastopen_blackhole_timeout_sec", 0)?;
    let listener = Listener::ipv4(8025, 8)?;
    listener.fast_open(4096)?;
    let mut acceptors = Processes::default();
    acceptors.0.push(spawn_acceptor(&listener, Acceptor { pause_ms: 2, seconds: SECONDS })?);
    let target = [listener.loopback().into()];
    let how = Clients {
        batch: 12,
        pause_us: handshake_pause_us(),
        first_byte: false,
        fast_open: true,
        seconds: SECONDS,
    };
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
    // Where no cookie was sent, none can have come back.
    let cookies_sent = counters::of_this_thread()?.get(Counter::SyncookiesSent);
    let at_cookie_ack = if cookies_sent == 0 { Amount::Exactly(0) } else { Amount::AtLeast(0) };
    let full = |stages, amount| Share { cause: cause::ACCEPT_QUEUE_FULL, stages, amount };
    Ok(Scene {
        kernel: vec![
            (Counter::ListenOverflows, Amount::AtLeast(100)),
            (Counter::ListenDrops, Amount::All(Counter::ListenOverflows)),
        ],
        listeners: vec![ExpectedListener {
            address: listener.address(),
            drops: vec![
                full(stage::SYN, Amount::AtLeast(1)),
                full(stage::ACK, Amount::AtLeast(0)),
                full(stage::COOKIE_ACK, at_cookie_ack),
            ],
            resets: None,
            sole: false,
        }],
        measured: vec![format!("{opened} connections were opened by a SYN with data (TCPFastOpenPassive)")],
        problems,
        open: vec![Box::new(listener)],
        ..Scene::default()
    })
}
