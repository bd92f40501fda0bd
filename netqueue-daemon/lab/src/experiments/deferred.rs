//! ACKs that a deferring listener ignores on purpose: `sk_drops` counts them like overflows.

use anyhow::{Result, bail};

use crate::counters::{self, Counter};
use crate::expectation::{Amount, Expectation, Experiment, LabSettings, Scenario};
use crate::sockets::{Listener, connect_nonblocking, send_byte, wait_connected};
use crate::sysctl;

pub(super) const DEFERRED: Experiment = Experiment {
    number: "26",
    name: "deferred",
    incident: "8 clients of a listener with TCP_DEFER_ACCEPT end their handshakes with bare ACKs and send a byte later",
    verdict: "no drop: the listener waits for data, and all eight are connected when it comes",
    provoke: Scenario::Inside(deferred),
};

const CLIENTS: usize = 8;

fn deferred(_: &LabSettings) -> Result<Expectation> {
    sysctl::defaults()?;
    let listener = Listener::ipv4(8026, 16)?;
    listener.defer_accept()?;
    let clients =
        (0..CLIENTS).map(|_| connect_nonblocking(listener.loopback())).collect::<Result<Vec<_>>>()?;
    clients.iter().try_for_each(wait_connected)?;
    let ignored = counters::tcp_ext("TCPDeferAcceptDrop")?;
    if ignored < CLIENTS as u64 {
        bail!("the kernel ignored {ignored} of {CLIENTS} bare ACKs: the incident did not happen");
    }
    clients.iter().try_for_each(send_byte)?;
    listener.wait_for_queue(CLIENTS as u32)?;
    // Connections left in the queue would be an incident of their own.
    let accepted = listener.accept_all()?;
    Ok(Expectation {
        kernel: vec![
            (Counter::ListenDrops, Amount::Exactly(0)),
            (Counter::EmbryonicRsts, Amount::Exactly(0)),
            (Counter::OutRsts, Amount::Exactly(0)),
        ],
        events: Some(vec![]),
        measured: vec![format!("the kernel ignored {ignored} bare ACKs (TCPDeferAcceptDrop)")],
        open: vec![Box::new((listener, clients, accepted))],
        ..Expectation::default()
    })
}
