//! Peers that reset their own handshakes: EmbryonicRsts counts them, although this host resets nothing.

use std::time::Duration;

use anyhow::Result;

use super::wait_for;
use crate::counters::Counter;
use crate::expectation::{Amount, Expectation, ExpectedListener, Experiment, LabSettings, Scenario};
use crate::packet::Segment;
use crate::raw::{FakePeers, peer};
use crate::sockets::{Listener, PATIENCE};
use crate::sysctl;

pub(super) const SYN_SCAN: Experiment = Experiment {
    number: "17",
    name: "syn-scan",
    incident: "4 peers send a SYN and answer the SYN-ACK with a reset, as a port scanner does",
    verdict: "no drop and no reset sent: the four handshakes were reset by their clients",
    provoke: Scenario::Inside(syn_scan),
};

const PEERS: u16 = 4;

fn syn_scan(_: &LabSettings) -> Result<Expectation> {
    sysctl::defaults()?;
    let fake = FakePeers::create()?;
    let listener = Listener::ipv4(8017, 16)?;
    fake.send_syns(PEERS, listener.loopback())?;
    fake.syn_acks(PEERS.into(), PATIENCE)?;
    (0..PEERS).try_for_each(|n| fake.send(peer(n), listener.loopback(), Segment::Rst))?;
    wait_for(Counter::EmbryonicRsts, PEERS.into(), Duration::from_secs(5))?;
    Ok(Expectation {
        kernel: vec![
            (Counter::EmbryonicRsts, Amount::Exactly(PEERS.into())),
            (Counter::OutRsts, Amount::Exactly(0)),
            (Counter::ListenDrops, Amount::Exactly(0)),
        ],
        listeners: vec![ExpectedListener {
            address: listener.address(),
            drops: vec![],
            resets: Some(vec![]),
            sole: true,
        }],
        events: Some(vec![]),
        open: vec![Box::new((listener, fake))],
        ..Expectation::default()
    })
}
