//! Namespaces that come and go, as those of containers: each overflows, and its counts outlive it.

use std::time::Duration;

use anyhow::Result;
use socket2::Socket;

use super::syn_time::dropped_at_syn;
use crate::expectation::{Expectation, Experiment, LabSettings, Scenario};
use crate::sockets::{Listener, connect_nonblocking};
use crate::sysctl;

pub(super) const NAMESPACES: Experiment = Experiment {
    number: "23",
    name: "namespaces",
    incident: "10 network namespaces, one after the other: a listener in each overflows, then all of it is destroyed",
    verdict: "accept queue full in ten namespaces: each one's counts were right while it lived, when its sockets were closed, and \
              after it was gone",
    provoke: Scenario::InEach(10, overflow),
};

const CLIENTS: u64 = 8;

fn overflow(_: &LabSettings) -> Result<Expectation> {
    sysctl::defaults()?;
    // Use the same port in each: only the namespace distinguishes them.
    let listener = Listener::ipv4(8023, 1)?;
    let queued = listener.fill(2, false)?;
    let clients: Vec<Socket> =
        (0..CLIENTS).map(|_| connect_nonblocking(listener.loopback())).collect::<Result<_>>()?;
    dropped_at_syn(listener, queued, clients, CLIENTS, Duration::from_secs(5))
}
