//! Segments without a connection: those that follow a reset, and those of connections that never were.
//! Each case runs with IPv4 and with IPv6.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use anyhow::Result;

use super::established::Established;
use super::resets::{only_resets, port, wait_until_readable};
use super::wait_for;
use crate::counters::Counter;
use crate::expectation::{Amount, Expectation, Experiment, LabSettings, Scenario, cause, reason};
use crate::packet::Segment;
use crate::raw::FakePeers;
use crate::sockets::{Family, localhost};
use crate::sysctl;

pub(super) const RESET_AGAIN: Experiment = Experiment {
    number: "87",
    name: "reset-again",
    incident: "a server closes 3 connections with unread data, and of each 4 more segments arrive",
    verdict: "the server closes connections that hold unread data; what arrived afterwards is no cause of its own",
    provoke: Scenario::Inside(reset_again),
};

pub(super) const NO_CONNECTION: Experiment = Experiment {
    number: "88",
    name: "no-connection",
    incident: "a SYN and a data segment for a closed port, and data segments for 3 client ports, of connections that are none",
    verdict: "one connect was refused; the rest are segments of no connection here",
    provoke: Scenario::Inside(no_connection),
};

const FAMILIES: [Family; 2] = [Family::V4, Family::V6];
const PATIENCE: Duration = Duration::from_secs(5);

fn reset_again(_: &LabSettings) -> Result<Expectation> {
    const CONNECTIONS: u16 = 3;
    const MORE: u64 = 4;
    sysctl::defaults()?;
    let first = 2 * u64::from(CONNECTIONS);
    let mut sides = Vec::new();
    for family in FAMILIES {
        let mut side = Established::with(family, port(family, 8087), CONNECTIONS)?;
        side.send_data()?;
        side.accepted.iter().try_for_each(wait_until_readable)?;
        side.close_all();
        sides.push(side);
    }
    wait_for(Counter::OutRsts, first, PATIENCE)?;
    for side in &sides {
        (0..MORE).try_for_each(|_| side.send_data())?;
    }
    wait_for(Counter::OutRsts, first * (1 + MORE), PATIENCE)?;
    Ok(Expectation {
        kernel: only_resets(first * (1 + MORE)),
        resets: vec![
            (cause::CLOSE_UNREAD_DATA, Amount::Exactly(first)),
            (cause::RESET_AGAIN, Amount::Exactly(first * MORE)),
            (cause::UNKNOWN_CONNECTION, Amount::Exactly(0)),
        ],
        reasons: vec![
            (cause::CLOSE_UNREAD_DATA, reason::ABORT_ON_CLOSE),
            (cause::RESET_AGAIN, reason::FLAGS),
        ],
        open: vec![Box::new(sides)],
        ..Expectation::default()
    })
}

fn no_connection(_: &LabSettings) -> Result<Expectation> {
    /// Ports of ip_local_port_range.
    const CLIENT_PORTS: [u16; 3] = [40_001, 40_002, 40_003];
    sysctl::defaults()?;
    let data = Segment::Data { ack: 7 };
    let mut open: Vec<Box<dyn Send>> = Vec::new();
    for family in FAMILIES {
        let fake = FakePeers::of(family)?;
        let here = |port| -> SocketAddr {
            match family {
                Family::V4 => localhost(Ipv4Addr::LOCALHOST, port),
                Family::V6 => localhost(Ipv6Addr::LOCALHOST, port),
            }
        };
        let closed = here(port(family, 8088));
        fake.send(fake.peer(0), closed, Segment::Syn)?;
        fake.send(fake.peer(1), closed, data)?;
        for port in CLIENT_PORTS {
            fake.send(fake.peer(2), here(port), data)?;
        }
        open.push(Box::new(fake));
    }
    wait_for(Counter::OutRsts, 10, PATIENCE)?;
    Ok(Expectation {
        kernel: only_resets(10),
        resets: vec![
            (cause::NO_LISTENER, Amount::Exactly(2)),
            (cause::NO_CONNECTION, Amount::Exactly(8)),
            (cause::RESET_AGAIN, Amount::Exactly(0)),
        ],
        reasons: vec![(cause::NO_LISTENER, reason::NO_SOCKET), (cause::NO_CONNECTION, reason::NO_SOCKET)],
        open,
        ..Expectation::default()
    })
}
