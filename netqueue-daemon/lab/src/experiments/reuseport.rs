//! Four listeners on one port, one of which nobody accepts from.
//! The address appears half sick, while one socket is the cause.

use netqueue_api::EventKind;
use std::net::{Ipv4Addr, SocketAddr};
use std::thread;
use std::time::Duration;

use anyhow::{Result, bail};
use socket2::Socket;

use super::wait_for;
use crate::counters::Counter;
use crate::expectation::{
    Amount, Expectation, ExpectedEvents, ExpectedListener, Experiment, Fixture, LabSettings, QueueState,
    Scenario, Share, cause, stage,
};
use crate::observation::Observation;
use crate::sockets::{Listener, connect_nonblocking, local_addresses};
use crate::watch::Watch;
use crate::{metrics, sysctl};

pub(super) const REUSEPORT: Experiment = Experiment {
    number: "14",
    name: "reuseport",
    incident: "four SO_REUSEPORT listeners on one port, 200 clients; nobody accepts from the one with listen(16)",
    verdict: "accept queue full, of one of the four sockets only: one worker is stuck, the other three are well",
    provoke: Scenario::Inside(reuseport),
};

pub(super) const GROUP: Experiment = Experiment {
    number: "14b",
    name: "reuseport-group",
    incident: "four SO_REUSEPORT listeners on one port; nobody accepts from the two with listen(8) and listen(24)",
    verdict: "two of the four sockets are stuck: each has its own row and drops, as many as its sk_drops says, and the metrics show \
              their sum",
    provoke: Scenario::Watching(group),
};

const PORT: u16 = 8014;
const CLIENTS: usize = 200;
/// Minimum number of drops: the kernel's hash gives the stuck listener some fifty clients, and 17 fit.
const CERTAINLY_DROPPED: u64 = 5;

fn reuseport(_: &LabSettings) -> Result<Expectation> {
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
    Ok(Expectation {
        kernel: vec![
            (Counter::ListenOverflows, Amount::AtLeast(CERTAINLY_DROPPED)),
            (Counter::ListenDrops, Amount::All(Counter::ListenOverflows)),
            (Counter::OutRsts, Amount::Exactly(0)),
        ],
        // One row of the four sockets at the address, because the others have counted nothing.
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
            kind: EventKind::Drop,
            cause: cause::ACCEPT_QUEUE_FULL,
            stages: stage::ANY,
            port: PORT,
            peers: local_addresses(&clients)?,
            at_least: CERTAINLY_DROPPED as usize,
            accept_queue: Some(QueueState { length: 16..=18, limit: 16 }),
            syn_queue: None,
        }]),
        open: vec![Box::new((stuck, healthy, clients, accepted))],
        ..Expectation::default()
    })
}

/// A stuck member of the group; its limit distinguishes it from the other one.
struct Stuck {
    listener: Listener,
    limit: u32,
}

impl Stuck {
    fn open(limit: u32) -> Result<Self> {
        Ok(Self { listener: Listener::reuseport(GROUP_PORT, limit as i32)?, limit })
    }

    fn is_full(&self) -> Result<bool> {
        Ok(self.listener.queue_length()? == self.limit + 1)
    }
}

const GROUP_PORT: u16 = 8114;

fn group(fixture: &Fixture<'_>) -> Result<Expectation> {
    let address = SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), GROUP_PORT);
    let watch = Watch::begin(fixture, address)?;
    let group = fixture.netns.run(Group::overflow)?;
    let drops = group.stuck.iter().map(|stuck| stuck.listener.socket_drops()).collect::<Result<Vec<_>>>()?;
    let sum: u64 = drops.iter().copied().map(u64::from).sum();
    let mut expectation = Expectation {
        kernel: vec![
            (Counter::ListenOverflows, Amount::Exactly(sum)),
            (Counter::ListenDrops, Amount::Exactly(sum)),
            (Counter::OutRsts, Amount::Exactly(0)),
        ],
        ..Expectation::default()
    };
    for (stuck, drops) in group.stuck.iter().zip(&drops) {
        let limit = stuck.limit;
        let said = |seen: &Observation| {
            let of_member =
                |row: &&netqueue_api::Listener| row.accept_queue.is_some_and(|queue| queue.limit == limit);
            let rows: Vec<_> = seen.rows.iter().filter(of_member).collect();
            rows.iter().map(|row| row.counter(Counter::ListenDrops.as_str())).collect::<Vec<_>>()
        };
        let wanted = vec![u64::from(*drops)];
        if let Some(seen) = watch.until(|seen| said(seen) == wanted)?
            && said(&seen) != wanted
        {
            expectation.problems.push(format!(
                "the member with listen({limit}): netqueue says {:?}, sk_drops {drops}",
                said(&seen)
            ));
        }
        expectation.measured.push(format!("the member with listen({limit}) dropped {drops} (sk_drops)"));
    }
    if let Some(server) = fixture.server {
        let metric = metrics::drops(server, fixture.netns.inode(), GROUP_PORT)?;
        if metric != Some(sum) {
            expectation
                .problems
                .push(format!("netqueue_listen_drops_total of the port is {metric:?}, the sum is {sum}"));
        }
    }
    expectation.open = vec![Box::new(group)];
    Ok(expectation)
}

/// The listeners and their connected clients.
struct Group {
    stuck: [Stuck; 2],
    _healthy: [Listener; 2],
    _clients: Vec<Socket>,
    _accepted: Vec<Socket>,
}

impl Group {
    /// Fills both stuck members and makes each drop some SYNs; afterwards no client retransmits.
    fn overflow() -> Result<Self> {
        const AT_LEAST: u32 = 3;
        const CLIENTS: usize = 2000;
        sysctl::defaults()?;
        let stuck = [Stuck::open(8)?, Stuck::open(24)?];
        let healthy = [Listener::reuseport(GROUP_PORT, 1024)?, Listener::reuseport(GROUP_PORT, 1024)?];
        let (mut clients, mut accepted) = (Vec::new(), Vec::new());
        for _ in 0..CLIENTS {
            let dropped = Self::drops(&stuck)?;
            let client = connect_nonblocking(stuck[0].listener.loopback())?;
            // Either takes microseconds. Dropped clients are closed so that they do not retransmit.
            while client.peer_addr().is_err() && Self::drops(&stuck)? == dropped {
                thread::sleep(Duration::from_micros(100));
            }
            if client.peer_addr().is_ok() {
                clients.push(client);
            }
            for listener in &healthy {
                accepted.extend(listener.try_accept()?);
            }
            let mut enough = true;
            for stuck in &stuck {
                enough &= stuck.is_full()? && stuck.listener.socket_drops()? >= AT_LEAST;
            }
            if enough {
                return Ok(Self { stuck, _healthy: healthy, _clients: clients, _accepted: accepted });
            }
        }
        bail!("the kernel's hash gave one of the stuck listeners too few of {CLIENTS} clients")
    }

    fn drops(stuck: &[Stuck; 2]) -> Result<u32> {
        Ok(stuck[0].listener.socket_drops()? + stuck[1].listener.socket_drops()?)
    }
}
