//! A host full of listeners, each of which drops once: none is missing, none is confused with another.

use anyhow::Result;

use super::wait_for;
use crate::counters::Counter;
use crate::expectation::{Amount, Expectation, ExpectedListener, Experiment, LabSettings, Scenario, stage};
use crate::sockets::{Listener, PATIENCE, connect_nonblocking};
use crate::sysctl;

pub(super) const MANY_LISTENERS: Experiment = Experiment {
    number: "22",
    name: "many-listeners",
    incident: "1000 listeners, each of which drops a SYN",
    verdict: "1000 accept queues were full, each listener's row counts its own drops",
    provoke: Scenario::Inside(many_listeners),
};

const LISTENERS: u16 = 1000;
const FIRST_PORT: u16 = 11_000;
const AT_ONCE: u16 = 50;

fn many_listeners(_: &LabSettings) -> Result<Expectation> {
    sysctl::defaults()?;
    let mut expectation = Expectation {
        kernel: vec![
            (Counter::ListenOverflows, Amount::AtLeast(LISTENERS.into())),
            (Counter::ListenDrops, Amount::AtLeast(LISTENERS.into())),
            (Counter::OutRsts, Amount::Exactly(0)),
        ],
        ..Expectation::default()
    };
    for first in (FIRST_PORT..FIRST_PORT + LISTENERS).step_by(AT_ONCE.into()) {
        let mut clients = Vec::new();
        for port in first..first + AT_ONCE {
            // The queue of listen(0) admits one connection.
            let listener = Listener::ipv4(port, 0)?;
            let queued = listener.fill(1, false)?;
            let client = connect_nonblocking(listener.loopback())?;
            let overflowed = ExpectedListener::overflowed(listener.address(), stage::SYN, Amount::AtLeast(1));
            expectation.listeners.push(overflowed);
            expectation.open.push(Box::new((listener, queued)));
            clients.push(client);
        }
        let so_far = u64::from(first + AT_ONCE - FIRST_PORT);
        wait_for(Counter::ListenDrops, so_far, PATIENCE)?;
        // The clients end here, on most machines before any of them retransmits its SYN.
    }
    Ok(expectation)
}
