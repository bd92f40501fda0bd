//! Resets that no queue has anything to do with: nothing is dropped, and the address they leave from is named.

use std::net::Ipv4Addr;
use std::time::Duration;

use anyhow::{Result, bail};

use super::wait_for;
use crate::lab::counters::Counter;
use crate::lab::scene::{Amount, Experiment, Provoke, Scene, Settings, cause};
use crate::lab::sockets::{Listener, connect, localhost, send_byte};
use crate::lab::sysctl;

pub(super) const KEEP_ALIVE_RACE: Experiment = Experiment {
    number: "12",
    name: "keep-alive-race",
    incident: "the server closes an idle connection, the client sends on it afterwards",
    verdict: "not a queue problem: the connection was closed by the server before the client used it again",
    provoke: Provoke::Inside(keep_alive_race),
};

pub(super) const RESETS: Experiment = Experiment {
    number: "13",
    name: "resets",
    incident: "a connect to a closed port, a close with unread data, a close with SO_LINGER 0, a listener closed with 5 queued",
    verdict: "eight resets and no drop: one for each of the first three, five for the connections the listener never accepted",
    provoke: Provoke::Inside(resets),
};

const PATIENCE: Duration = Duration::from_secs(5);

fn keep_alive_race(_: &Settings) -> Result<Scene> {
    sysctl::defaults()?;
    let listener = Listener::ipv4(8012, 16)?;
    let client = connect(listener.loopback().into())?;
    drop(listener.accept()?);
    send_byte(&client)?;
    wait_for(Counter::OutRsts, 1, PATIENCE)?;
    Ok(Scene {
        kernel: vec![
            (Counter::OutRsts, Amount::Exactly(1)),
            (Counter::EmbryonicRsts, Amount::Exactly(0)),
            (Counter::ListenDrops, Amount::Exactly(0)),
        ],
        resets: vec![(cause::AFTER_CLOSE, Amount::Exactly(1))],
        open: vec![Box::new((listener, client))],
        ..Scene::default()
    })
}

fn resets(_: &Settings) -> Result<Scene> {
    const QUEUED: u32 = 5;
    sysctl::defaults()?;
    if connect(localhost(Ipv4Addr::LOCALHOST, 8413)).is_ok() {
        bail!("somebody listens on port 8413 of a namespace that is new");
    }

    let careless = Listener::ipv4(8113, 16)?;
    let unread = connect(careless.loopback().into())?;
    let server = careless.accept()?;
    send_byte(&unread)?;
    wait_until_readable(&server)?;
    drop(server);

    let abrupt = Listener::ipv4(8213, 16)?;
    let lingering = connect(abrupt.loopback().into())?;
    let server = abrupt.accept()?;
    server.set_linger(Some(Duration::ZERO))?;
    drop(server);

    let closing = Listener::ipv4(8313, 16)?;
    let queued = closing.fill(QUEUED, false)?;
    drop(closing);

    let all = 3 + u64::from(QUEUED);
    wait_for(Counter::OutRsts, all, PATIENCE)?;
    Ok(Scene {
        kernel: vec![
            (Counter::OutRsts, Amount::Exactly(all)),
            (Counter::EmbryonicRsts, Amount::Exactly(0)),
            (Counter::ListenDrops, Amount::Exactly(0)),
        ],
        // The causes of the other three depend on what the kernel tells: not all of them before 6.10.
        resets: vec![(cause::NO_LISTENER, Amount::Exactly(1))],
        open: vec![Box::new((careless, unread, abrupt, lingering, queued))],
        ..Scene::default()
    })
}

/// Waits until the byte the client sent has arrived.
fn wait_until_readable(server: &socket2::Socket) -> Result<()> {
    server.set_read_timeout(Some(PATIENCE))?;
    let mut byte = [std::mem::MaybeUninit::uninit()];
    match server.peek(&mut byte)? {
        1 => Ok(()),
        _ => bail!("the client closed before its byte arrived"),
    }
}
