//! A Multipath TCP server: the overflowing queue belongs to a socket inside the kernel, the port to the
//! server.

use anyhow::Result;
use socket2::{Protocol, Socket};

use super::inventory::Watch;
use super::syn_time::dropped_at_syn;
use crate::counters::Counter;
use crate::expectation::{Amount, Expectation, Experiment, Fixture, LabSettings, Scenario};
use crate::sockets::{Listener, PATIENCE, connect_nonblocking, start_to_connect};
use crate::sysctl;

pub(super) const MPTCP: Experiment = Experiment {
    number: "24",
    name: "mptcp",
    incident: "an IPPROTO_MPTCP listener with listen(1) that nobody accepts from; 4 TCP and 4 MPTCP clients connect",
    verdict: "accept queue full at SYN time, at the address and port the server listens on",
    provoke: Scenario::Inside(mptcp),
};

pub(super) const ACCEPTED: Experiment = Experiment {
    number: "74",
    name: "mptcp-accepted",
    incident: "an IPPROTO_MPTCP listener; 3 MPTCP and 2 TCP clients connect and are accepted",
    verdict: "the listener belongs to the process that opened it; 5 connections entered its queue, 5 were accepted and their wait is \
              measured",
    provoke: Scenario::Watching(accepted),
};

const OF_EACH: usize = 4;

fn accepted(fixture: &Fixture<'_>) -> Result<Expectation> {
    const PORT: u16 = 8074;
    const MULTIPATH: u64 = 3;
    const PLAIN: u64 = 2;
    let open = fixture.netns.run(|| {
        sysctl::defaults()?;
        let listener = Listener::mptcp(PORT, 16)?;
        let to = listener.loopback();
        let mut sockets = Vec::new();
        for n in 0..MULTIPATH + PLAIN {
            let protocol = if n < MULTIPATH { Protocol::MPTCP } else { Protocol::TCP };
            let client = start_to_connect(to, protocol)?;
            sockets.push((client, listener.accept()?));
        }
        Ok((listener, sockets))
    })?;
    let mut expectation = Expectation::default();
    expectation.kernel.push((Counter::ListenDrops, Amount::Exactly(0)));
    let mut watch = Watch { fixture, port: PORT, expectation: &mut expectation };
    let own = std::process::id();
    watch.until("its owner is known", PATIENCE, |_, details| details.pids() == [own])?;
    watch.until("5 entered the queue and 5 were accepted", PATIENCE, |row, _| {
        row.traffic.as_ref().is_some_and(|traffic| {
            let measured = traffic.accept_wait_seconds.as_ref().map(|waits| waits.count);
            let all = MULTIPATH + PLAIN;
            traffic.established == all && traffic.accepted == Some(all) && measured == Some(all)
        })
    })?;
    expectation.open.push(Box::new(open));
    Ok(expectation)
}

fn mptcp(_: &LabSettings) -> Result<Expectation> {
    sysctl::defaults()?;
    let listener = Listener::mptcp(8024, 1)?;
    let queued = listener.fill(2, false)?;
    let to = listener.loopback();
    let mut clients = (0..OF_EACH).map(|_| connect_nonblocking(to)).collect::<Result<Vec<Socket>>>()?;
    for _ in 0..OF_EACH {
        clients.push(start_to_connect(to, Protocol::MPTCP)?);
    }
    let dropped = clients.len() as u64;
    dropped_at_syn(listener, queued, clients, dropped, PATIENCE)
}
