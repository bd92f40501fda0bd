//! A Multipath TCP server: the queue that overflows is that of a socket inside the kernel, the port is the server's.

use anyhow::Result;
use socket2::{Protocol, Socket};

use super::syn_time::dropped_at_syn;
use crate::lab::scene::{Experiment, Provoke, Scene, Settings};
use crate::lab::sockets::{Listener, PATIENCE, connect_nonblocking, start_to_connect};
use crate::lab::sysctl;

pub(super) const MPTCP: Experiment = Experiment {
    number: "24",
    name: "mptcp",
    incident: "an IPPROTO_MPTCP listener with listen(1) that nobody accepts from; 4 TCP and 4 MPTCP clients connect",
    verdict: "accept queue full at SYN time, at the address and port the server listens on",
    provoke: Provoke::Inside(mptcp),
};

const OF_EACH: usize = 4;

fn mptcp(_: &Settings) -> Result<Scene> {
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
