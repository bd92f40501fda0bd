//! Resets that have nothing to do with a queue: nothing is dropped, and netqueue names their address.
//! Each case runs with IPv4 and with IPv6.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use anyhow::{Result, bail};
use socket2::Socket;

use super::load::wait_until_none;
use super::wait_for;
use crate::counters::Counter;
use crate::expectation::{
    Amount, Expectation, ExpectedListener, Experiment, LabSettings, Scenario, cause, reason,
};
use crate::sockets::{Family, Listener, connect, localhost, send_byte};
use crate::tcp_table::State;
use crate::{sys, sysctl};

pub(super) const KEEP_ALIVE_RACE: Experiment = Experiment {
    number: "12",
    name: "keep-alive-race",
    incident: "the server closes an idle connection, the client sends on it afterwards",
    verdict: "not a queue problem: the connection was closed by the server before the client used it again",
    provoke: Scenario::Inside(keep_alive_race),
};

pub(super) const RESETS: Experiment = Experiment {
    number: "13",
    name: "resets",
    incident: "a connect to a closed port, a close with unread data, a close with SO_LINGER 0, a listener closed with 5 queued",
    verdict: "eight resets and no drop: one for each of the first three, five for the connections the listener never accepted",
    provoke: Scenario::Inside(resets),
};

pub(super) const DISSOLVED: Experiment = Experiment {
    number: "36",
    name: "dissolved",
    incident: "the server ends a connection by connect() to AF_UNSPEC, and keeps the socket",
    verdict: "a reset for a reason that has no name of its own: the process wanted it",
    provoke: Scenario::Inside(dissolved),
};

const PATIENCE: Duration = Duration::from_secs(5);
const FAMILIES: [Family; 2] = [Family::V4, Family::V6];

/// The port of an experiment; IPv6 uses one beside IPv4's.
pub(super) const fn port(family: Family, port: u16) -> u16 {
    match family {
        Family::V4 => port,
        Family::V6 => port + 50,
    }
}

fn connected(listener: &Listener) -> Result<(Socket, Socket)> {
    let client = connect(listener.loopback())?;
    Ok((client, listener.accept()?))
}

/// Expects exactly `count` resets and nothing else.
pub(super) fn only_resets(count: u64) -> Vec<(Counter, Amount)> {
    vec![
        (Counter::OutRsts, Amount::Exactly(count)),
        (Counter::EmbryonicRsts, Amount::Exactly(0)),
        (Counter::ListenDrops, Amount::Exactly(0)),
    ]
}

fn keep_alive_race(_: &LabSettings) -> Result<Expectation> {
    sysctl::defaults()?;
    let mut open = Vec::new();
    for family in FAMILIES {
        let listener = Listener::of(family, port(family, 8012), 16)?;
        let (client, server) = connected(&listener)?;
        drop(server);
        // Wait until the client has the FIN: the race is lost, not undecided.
        wait_until_none(listener.address().port(), &[State::Established, State::FinWait1])?;
        send_byte(&client)?;
        open.push((listener, client));
    }
    wait_for(Counter::OutRsts, 2, PATIENCE)?;
    Ok(Expectation {
        kernel: only_resets(2),
        resets: vec![(cause::AFTER_CLOSE, Amount::Exactly(2))],
        reasons: vec![(cause::AFTER_CLOSE, reason::TIME_WAIT)],
        open: vec![Box::new(open)],
        ..Expectation::default()
    })
}

pub(super) fn resets(_: &LabSettings) -> Result<Expectation> {
    const QUEUED: u32 = 5;
    sysctl::defaults()?;
    let mut open: Vec<Box<dyn Send>> = Vec::new();
    let mut listeners = Vec::new();
    for family in FAMILIES {
        let nobody = match family {
            Family::V4 => localhost(Ipv4Addr::LOCALHOST, port(family, 8413)),
            Family::V6 => localhost(Ipv6Addr::LOCALHOST, port(family, 8413)),
        };
        if connect(nobody).is_ok() {
            bail!("somebody listens on {nobody} of a namespace that is new");
        }

        let careless = Listener::of(family, port(family, 8113), 16)?;
        let (unread, server) = connected(&careless)?;
        send_byte(&unread)?;
        wait_until_readable(&server)?;
        drop(server);

        let abrupt = Listener::of(family, port(family, 8213), 16)?;
        let (lingering, server) = connected(&abrupt)?;
        server.set_linger(Some(Duration::ZERO))?;
        drop(server);

        let closing = Listener::of(family, port(family, 8313), 16)?;
        let queued = closing.fill(QUEUED, false)?;
        listeners.push(ExpectedListener {
            address: closing.address(),
            drops: vec![],
            resets: Some(vec![(cause::LISTENER_CLOSED, Amount::Exactly(QUEUED.into()))]),
            sole: false,
        });
        drop(closing);
        open.push(Box::new((careless, unread, abrupt, lingering, queued)));
    }
    let both = |each: u64| Amount::Exactly(2 * each);
    let all = 2 * (3 + u64::from(QUEUED));
    wait_for(Counter::OutRsts, all, PATIENCE)?;
    Ok(Expectation {
        kernel: only_resets(all),
        listeners,
        resets: vec![
            (cause::NO_LISTENER, both(1)),
            (cause::CLOSE_UNREAD_DATA, both(1)),
            (cause::LINGER_ZERO, both(1)),
            (cause::LISTENER_CLOSED, both(QUEUED.into())),
        ],
        reasons: vec![
            (cause::NO_LISTENER, reason::NO_SOCKET),
            (cause::CLOSE_UNREAD_DATA, reason::ABORT_ON_CLOSE),
            (cause::LINGER_ZERO, reason::STATE),
            (cause::LISTENER_CLOSED, reason::STATE),
        ],
        open,
        ..Expectation::default()
    })
}

fn dissolved(_: &LabSettings) -> Result<Expectation> {
    sysctl::defaults()?;
    let mut open = Vec::new();
    for family in FAMILIES {
        let listener = Listener::of(family, port(family, 8036), 16)?;
        let (client, server) = connected(&listener)?;
        sys::dissolve(&server)?;
        open.push((listener, client, server));
    }
    wait_for(Counter::OutRsts, 2, PATIENCE)?;
    Ok(Expectation {
        kernel: only_resets(2),
        resets: vec![(cause::OTHER, Amount::Exactly(2))],
        reasons: vec![(cause::OTHER, reason::STATE)],
        open: vec![Box::new(open)],
        ..Expectation::default()
    })
}

/// Waits until the client's byte has arrived.
pub(super) fn wait_until_readable(server: &Socket) -> Result<()> {
    server.set_read_timeout(Some(PATIENCE))?;
    let mut byte = [std::mem::MaybeUninit::uninit()];
    match server.peek(&mut byte)? {
        1 => Ok(()),
        _ => bail!("the client closed before its byte arrived"),
    }
}
