//! Clients that close after the server: with TLS alerts, and with FINs of unknown connections.
//! Each case runs with IPv4 and with IPv6.

use std::io::Write;
use std::net::{Ipv4Addr, Ipv6Addr, Shutdown, SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::Result;

use super::load::wait_until_none;
use super::resets::{only_resets, port};
use super::wait_for;
use crate::counters::Counter;
use crate::expectation::{Amount, Expectation, Experiment, LabSettings, Scenario, cause};
use crate::packet::Segment;
use crate::raw::FakePeers;
use crate::sockets::{Family, Listener, connect, localhost};
use crate::sysctl;
use crate::tcp_table::State;

pub(super) const PEER_CLOSING: Experiment = Experiment {
    number: "89",
    name: "peer-closing",
    incident: "after a server's close, or just before it, clients answer with close_notify of TLS 1.2 and 1.3, one sends a request; FINs of unknown connections",
    verdict: "one packet came too late, two stayed unread, and their clients are harmed; whoever was closing too is not",
    provoke: Scenario::Inside(peer_closing),
};

const PATIENCE: Duration = Duration::from_secs(5);

/// An encrypted close_notify of TLS 1.2 (AES-GCM), as OpenSSL sends it.
const TLS_12: [u8; 31] = alert(21);
/// A close_notify of TLS 1.3, which looks like application data.
const TLS_13: [u8; 24] = alert(23);
const REQUEST: &[u8] = b"GET / HTTP/1.1\r\n\r\n";

const fn alert<const LENGTH: usize>(kind: u8) -> [u8; LENGTH] {
    let mut record = [0x5a; LENGTH];
    (record[0], record[1], record[2], record[3], record[4]) = (kind, 3, 3, 0, LENGTH as u8 - 5);
    record
}

fn peer_closing(_: &LabSettings) -> Result<Expectation> {
    sysctl::defaults()?;
    let mut open: Vec<Box<dyn Send>> = Vec::new();
    let mut sent = 0;
    for family in [Family::V4, Family::V6] {
        let listener = Listener::of(family, port(family, 8089), 16)?;
        for last in [&TLS_12[..], &TLS_13[..], REQUEST] {
            let client = connect(listener.loopback())?;
            drop(listener.accept()?);
            wait_until_none(listener.address().port(), &[State::Established, State::FinWait1])?;
            let mut client = TcpStream::from(client);
            client.write_all(last)?;
            sent += 1;
            wait_for(Counter::OutRsts, sent, PATIENCE)?;
            open.push(Box::new(client));
        }
        // The peer's last data come between the server's close_notify and its close, which leaves them unread.
        for (last, closed) in [(&TLS_12[..], true), (&TLS_13, true), (&TLS_13, false), (REQUEST, true)] {
            let mut client = TcpStream::from(connect(listener.loopback())?);
            let server = listener.accept()?;
            client.write_all(last)?;
            if closed {
                client.shutdown(Shutdown::Write)?;
            }
            drop(server);
            sent += 1;
            wait_for(Counter::OutRsts, sent, PATIENCE)?;
            open.push(Box::new(client));
        }
        let fake = FakePeers::of(family)?;
        let at = |port| -> SocketAddr {
            match family {
                Family::V4 => localhost(Ipv4Addr::LOCALHOST, port),
                Family::V6 => localhost(Ipv6Addr::LOCALHOST, port),
            }
        };
        let (listening, closed) = (at(listener.address().port()), at(port(family, 8090)));
        fake.send(fake.peer(0), listening, Segment::Fin { ack: 7 })?;
        fake.send(fake.peer(1), listening, Segment::Bytes { ack: 7, payload: &TLS_12 })?;
        fake.send(fake.peer(2), closed, Segment::Fin { ack: 7 })?;
        sent += 3;
        wait_for(Counter::OutRsts, sent, PATIENCE)?;
        open.push(Box::new((listener, fake)));
    }
    Ok(Expectation {
        kernel: only_resets(sent),
        resets: vec![
            (cause::PEER_CLOSING, Amount::Exactly(14)),
            (cause::CLOSE_UNREAD_DATA, Amount::Exactly(4)),
            (cause::AFTER_CLOSE, Amount::Exactly(2)),
            (cause::UNKNOWN_CONNECTION, Amount::Exactly(0)),
            (cause::NO_CONNECTION, Amount::Exactly(0)),
        ],
        open,
        ..Expectation::default()
    })
}
