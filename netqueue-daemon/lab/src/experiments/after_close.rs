//! Connections that this side has closed.
//! Covers packets that arrive too late for them, the time for which netqueue recognises these, and peers that
//! never close. Each case runs with IPv4 and with IPv6.

use std::time::Duration;

use anyhow::Result;

use super::established::Established;
use super::load::wait_until_none;
use super::resets::{only_resets, port};
use super::wait_for;
use crate::counters::Counter;
use crate::expectation::{
    Amount, Expectation, ExpectedListener, Experiment, LabSettings, Scenario, cause, reason,
};
use crate::packet::Segment;
use crate::sockets::{Family, Listener, connect, send_byte};
use crate::tcp_table::State;
use crate::{sys, sysctl};

pub(super) const DATA_AFTER_CLOSE: Experiment = Experiment {
    number: "31",
    name: "data-after-close",
    incident: "the server closes, and the client, which has not heard of it yet, sends data",
    verdict: "not a queue problem: the server closed the connection while the client was using it",
    provoke: Scenario::Inside(data_after_close),
};

pub(super) const FORGOTTEN: Experiment = Experiment {
    number: "32",
    name: "forgotten-connection",
    incident: "the server closes, and clients send on their connections when the kernel has forgotten them (tcp_fin_timeout=1); of one \
               server the listener is closed too",
    verdict: "the listener does not know these connections: nobody remembers any more whether they were closed, so it is not said; \
              and they belong to no connection where the listener is gone",
    provoke: Scenario::Inside(forgotten),
};

pub(super) const NO_FIN: Experiment = Experiment {
    number: "33",
    name: "fin-never-came",
    incident: "the server closes and the client does not: one connection has TCP_LINGER2 below 0, of the other the wait for the FIN ends",
    verdict: "resets of connections the server had closed, because their clients never closed them",
    provoke: Scenario::Inside(no_fin),
};

const FAMILIES: [Family; 2] = [Family::V4, Family::V6];
const PATIENCE: Duration = Duration::from_secs(8);

fn data_after_close(_: &LabSettings) -> Result<Expectation> {
    sysctl::defaults()?;
    let mut sides = Vec::new();
    for family in FAMILIES {
        let mut side = Established::with(family, port(family, 8031), 2)?;
        side.close_all();
        for answer in &side.answers {
            let data = Segment::Data { ack: answer.sequence.wrapping_add(1) };
            side.fake.send(answer.to, answer.from, data)?;
        }
        sides.push(side);
    }
    wait_for(Counter::OutRsts, 4, PATIENCE)?;
    Ok(Expectation {
        kernel: only_resets(4),
        resets: vec![(cause::AFTER_CLOSE, Amount::Exactly(4))],
        reasons: vec![(cause::AFTER_CLOSE, reason::ABORT_ON_DATA)],
        open: vec![Box::new(sides)],
        ..Expectation::default()
    })
}

fn forgotten(_: &LabSettings) -> Result<Expectation> {
    sysctl::defaults()?;
    sysctl::ensure("ipv4/tcp_fin_timeout", 1)?;
    let mut clients = Vec::new();
    let mut listeners = Vec::new();
    let mut expected = Vec::new();
    for family in FAMILIES {
        let staying = Listener::of(family, port(family, 8032), 16)?;
        let leaving = Listener::of(family, port(family, 8132), 16)?;
        for listener in [&staying, &leaving] {
            clients.push(connect(listener.loopback())?);
            drop(listener.accept()?);
        }
        expected.push(ExpectedListener {
            address: staying.address(),
            drops: vec![],
            resets: Some(vec![(cause::UNKNOWN_CONNECTION, Amount::Exactly(1))]),
            sole: false,
        });
        listeners.push(staying);
    }
    let ports = [8032, 8132].into_iter().flat_map(|base| FAMILIES.map(|family| port(family, base)));
    for port in ports {
        wait_until_none(port, &[State::FinWait1, State::FinWait2, State::TimeWait])?;
    }
    clients.iter().try_for_each(send_byte)?;
    wait_for(Counter::OutRsts, 4, PATIENCE)?;
    Ok(Expectation {
        kernel: only_resets(4),
        listeners: expected,
        resets: vec![
            (cause::UNKNOWN_CONNECTION, Amount::Exactly(2)),
            (cause::NO_CONNECTION, Amount::Exactly(2)),
            (cause::NO_LISTENER, Amount::Exactly(0)),
            (cause::AFTER_CLOSE, Amount::Exactly(0)),
            (cause::EXPIRED_HANDSHAKE, Amount::Exactly(0)),
        ],
        reasons: vec![(cause::UNKNOWN_CONNECTION, reason::FLAGS), (cause::NO_CONNECTION, reason::NO_SOCKET)],
        open: vec![Box::new((listeners, clients))],
        ..Expectation::default()
    })
}

/// The kernel waits for the FIN two seconds in a full socket, then continues in a time-wait socket.
const FIN_TIMEOUT_IN_A_SOCKET: u64 = 62;
const FIN_TIMEOUT: u64 = 60;

fn no_fin(_: &LabSettings) -> Result<Expectation> {
    sysctl::defaults()?;
    sysctl::ensure("ipv4/tcp_fin_timeout", FIN_TIMEOUT_IN_A_SOCKET)?;
    let mut open = Vec::new();
    for family in FAMILIES {
        let listener = Listener::of(family, port(family, 8033), 16)?;
        let hasty = connect(listener.loopback())?;
        let server = listener.accept()?;
        sys::wait_for_no_fin(&server)?;
        server.shutdown(std::net::Shutdown::Write)?;
        wait_until_none(listener.address().port(), &[State::Established, State::FinWait1])?;
        drop(server);
        let silent = connect(listener.loopback())?;
        drop(listener.accept()?);
        wait_until_none(listener.address().port(), &[State::Established, State::FinWait1])?;
        open.push((listener, hasty, silent));
    }
    // A shorter timeout than the one for which the kernel keeps the full socket: the wait ends there.
    sysctl::ensure("ipv4/tcp_fin_timeout", FIN_TIMEOUT)?;
    wait_for(Counter::OutRsts, 4, PATIENCE)?;
    Ok(Expectation {
        kernel: only_resets(4),
        resets: vec![(cause::AFTER_CLOSE, Amount::Exactly(4))],
        open: vec![Box::new(open)],
        ..Expectation::default()
    })
}
