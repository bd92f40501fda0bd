//! Drops that have nothing to do with a queue.
//! The kernel counts them in ListenDrops like all others, and netqueue must distinguish them. Each case runs
//! with IPv4 and with IPv6.

use netqueue_api::EventKind;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use anyhow::Result;

use super::wait_for;
use crate::counters::Counter;
use crate::expectation::{
    Amount, Expectation, ExpectedEvents, ExpectedListener, Experiment, LabSettings, Scenario, Share, cause,
    stage,
};
use crate::packet::{Segment, SynAck};
use crate::raw::FakePeers;
use crate::sockets::{Family, Listener, PATIENCE, connect_nonblocking, local_address};
use crate::{netlink, sysctl};

pub(super) const BROADCAST: Experiment = Experiment {
    number: "27",
    name: "broadcast-syn",
    incident: "4 peers send a SYN to the broadcast address, and a client connects to an IPv6 anycast address",
    verdict: "drops by the listener that no queue has anything to do with: such a SYN is never answered",
    provoke: Scenario::Inside(broadcast),
};

pub(super) const NO_ROUTE_AT_SYN: Experiment = Experiment {
    number: "28",
    name: "no-route-at-syn",
    incident: "the way back to 4 IPv4 and 4 IPv6 peers is unreachable when their SYNs arrive",
    verdict: "drops at the SYN, none of them an overflow: no SYN-ACK can be sent",
    provoke: Scenario::Inside(no_route_at_syn),
};

pub(super) const NO_ROUTE_AT_ACK: Experiment = Experiment {
    number: "28b",
    name: "no-route-at-ack",
    incident: "the way back to 4 IPv4 and 4 IPv6 peers is lost between their SYN and their final ACK",
    verdict: "drops at the final ACK, none of them an overflow: no socket can be made for a peer without a route",
    provoke: Scenario::Inside(no_route_at_ack),
};

pub(super) const ICMP: Experiment = Experiment {
    number: "29",
    name: "icmp-error",
    incident: "a router says of the SYN-ACKs to 4 IPv4 and 4 IPv6 peers that it cannot deliver them",
    verdict: "drops of pending handshakes, none of them an overflow: an ICMP error ended each",
    provoke: Scenario::Inside(icmp),
};

const PEERS: u16 = 4;
const BACKLOG: i32 = 16;
const SOON: Duration = Duration::from_secs(5);

/// A listener and its peers.
struct Side {
    fake: FakePeers,
    listener: Listener,
}

impl Side {
    fn of(family: Family, port: u16) -> Result<Self> {
        Ok(Self { fake: FakePeers::of(family)?, listener: Listener::of(family, port, BACKLOG)? })
    }

    fn shake_hands(&self) -> Result<Vec<SynAck>> {
        self.fake.send_syns(PEERS, self.listener.loopback())?;
        self.fake.syn_acks(PEERS.into(), PATIENCE)
    }

    fn peers(&self) -> Vec<SocketAddr> {
        (0..PEERS).map(|n| self.fake.peer(n)).collect()
    }
}

/// Opens a listener of each family, the IPv6 one at `port + 100`.
fn both(port: u16) -> Result<[Side; 2]> {
    sysctl::defaults()?;
    Ok([Side::of(Family::V4, port)?, Side::of(Family::V6, port + 100)?])
}

/// Expects one drop for each of [`PEERS`] peers per side, at this stage, with no queue as the cause.
fn expectation(sides: [Side; 2], stages: &'static [&'static str]) -> Result<Expectation> {
    let all = 2 * u64::from(PEERS);
    wait_for(Counter::ListenDrops, all, SOON)?;
    let expected = sides.each_ref().map(|side| (side.listener.address(), side.peers()));
    Ok(Expectation { open: vec![Box::new(sides)], ..of_others(all, stages, expected.into()) })
}

fn of_others(
    all: u64,
    stages: &'static [&'static str],
    expected: Vec<(SocketAddr, Vec<SocketAddr>)>,
) -> Expectation {
    let listener = |(address, peers): &(SocketAddr, Vec<SocketAddr>)| ExpectedListener {
        address: *address,
        drops: vec![Share { cause: cause::OTHER, stages, amount: Amount::Exactly(peers.len() as u64) }],
        resets: Some(vec![]),
        sole: false,
    };
    let listeners = expected.iter().map(listener).collect();
    let events = expected.into_iter().map(|(address, peers)| ExpectedEvents {
        kind: EventKind::Drop,
        cause: cause::OTHER,
        stages,
        port: address.port(),
        at_least: peers.len(),
        peers,
        accept_queue: None,
        syn_queue: None,
    });
    Expectation {
        kernel: vec![
            (Counter::ListenDrops, Amount::Exactly(all)),
            (Counter::ListenOverflows, Amount::Exactly(0)),
            (Counter::ReqQFullDrop, Amount::Exactly(0)),
            (Counter::OutRsts, Amount::Exactly(0)),
        ],
        listeners,
        events: Some(events.collect()),
        ..Expectation::default()
    }
}

fn broadcast(_: &LabSettings) -> Result<Expectation> {
    const NETWORK: Ipv6Addr = Ipv6Addr::new(0xfd27, 0, 0, 0, 0, 0, 0, 0);
    const ROUTER: Ipv6Addr = Ipv6Addr::new(0xfd27, 0, 0, 0, 0, 0, 0, 1);
    sysctl::defaults()?;
    let side = Side::of(Family::V4, 8027)?;
    let port = side.listener.loopback().port();
    let everybody = SocketAddr::new(Ipv4Addr::new(127, 255, 255, 255).into(), port);
    (0..PEERS).try_for_each(|n| side.fake.send(side.fake.peer(n), everybody, Segment::Syn))?;

    // The first address of a network is the anycast address of its routers.
    let anycast = Listener::of(Family::V6, 8127, BACKLOG)?;
    sysctl::ensure("ipv6/conf/all/forwarding", 1)?;
    netlink::address_on_loopback(ROUTER, 64)?;
    let client = connect_nonblocking(SocketAddr::new(NETWORK.into(), 8127))?;
    let all = u64::from(PEERS) + 1;
    wait_for(Counter::ListenDrops, all, SOON)?;
    let peer = local_address(&client)?;
    // The client's first SYN is enough.
    drop(client);
    let expected = vec![(side.listener.address(), side.peers()), (anycast.address(), vec![peer])];
    Ok(Expectation { open: vec![Box::new((side, anycast))], ..of_others(all, stage::SYN, expected) })
}

fn no_route_at_syn(_: &LabSettings) -> Result<Expectation> {
    let sides = both(8028)?;
    for side in &sides {
        side.fake.lose_the_way()?;
        side.fake.send_syns(PEERS, side.listener.loopback())?;
    }
    expectation(sides, stage::SYN)
}

fn no_route_at_ack(_: &LabSettings) -> Result<Expectation> {
    let sides = both(8228)?;
    for side in &sides {
        let answers = side.shake_hands()?;
        side.fake.lose_the_way()?;
        for answer in answers {
            side.fake.send_final_ack(&answer)?;
        }
    }
    expectation(sides, stage::ACK)
}

fn icmp(_: &LabSettings) -> Result<Expectation> {
    let sides = both(8029)?;
    for side in &sides {
        side.shake_hands()?.iter().try_for_each(|answer| side.fake.send_unreachable(answer))?;
    }
    expectation(sides, stage::ACK)
}
