//! Listeners opened, overflowed and closed under load: afterwards no account without a socket is open.

use netqueue_api::AccountKind;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow, bail};
use socket2::Socket;

use super::load::patiently;
use crate::client::Server;
use crate::counters::Counter;
use crate::expectation::{Amount, Expectation, Experiment, Fixture, Scenario};
use crate::observation;
use crate::own_daemon::OwnDaemon;
use crate::sockets::{Listener, PATIENCE, connect_nonblocking};
use crate::sysctl;

pub(super) const CLOSED_UNDER_LOAD: Experiment = Experiment {
    number: "68",
    name: "closed-under-load",
    incident: "200 times a listener is opened, overflowed and closed, eight at a time, beside eight listeners whose queues were \
               full before netqueue started; twice as many threads as CPUs are busy, and netqueue is stopped (SIGSTOP) for 600 \
               of every 800 ms",
    verdict: "accept queue full, 200 times; as soon as the last listener is closed, netqueue shows all of them closed",
    provoke: Scenario::Watching(closed_under_load),
};

const FIRST_PORT: u16 = 8130;
const AT_ONCE: u16 = 8;
const ROUNDS: u16 = 25;
const CLIENTS: usize = 5;
/// Time for which a listener stays open after its overflow.
const OPEN: Duration = Duration::from_millis(30);
const STOPPED: Duration = Duration::from_millis(600);
const RUNNING: Duration = Duration::from_millis(200);

fn closed_under_load(fixture: &Fixture<'_>) -> Result<Expectation> {
    let full = fixture.netns.run(fill)?;
    let own = fixture.server.map(|_| OwnDaemon::start(&[])).transpose()?;
    if let Some(own) = &own {
        wait_until_found(own.server(), fixture.netns.inode())?;
    }
    let (stop, fed) = (AtomicBool::new(false), AtomicBool::new(false));
    let (done, open) = thread::scope(|scope| {
        let busy = thread::available_parallelism().map_or(2, |cpus| 2 * cpus.get());
        for _ in 0..busy {
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    std::hint::spin_loop();
                }
            });
        }
        let starved = own.as_ref().map(|own| scope.spawn(|| starve(own, &fed)));
        let done = fixture.netns.run(move || come_and_go(full));
        fed.store(true, Ordering::Relaxed);
        let starved = starved.map_or(Ok(Ok(())), |thread| thread.join());
        let done = done.and(starved.map_err(|_| anyhow!("a thread of the lab panicked")).flatten());
        // Query while the machine is still busy, and the daemon has just been continued.
        let open = own.as_ref().map(|own| still_open(own.server(), fixture.netns.inode())).transpose();
        stop.store(true, Ordering::Relaxed);
        (done, open)
    });
    done?;
    let mut expectation = Expectation {
        kernel: vec![(Counter::ListenDrops, Amount::AtLeast(u64::from(AT_ONCE * ROUNDS)))],
        ..Expectation::default()
    };
    if let (Some(own), Some(open)) = (&own, open?) {
        let later = still_open(own.server(), fixture.netns.inode())?;
        expectation.measured.push(format!(
            "{} rows still open at first, {} a moment later",
            open.len(),
            later.len()
        ));
        expectation.problems.extend(open.into_iter().map(|row| format!("{row}: open without a socket")));
        expectation.problems.extend(later.into_iter().map(|row| format!("{row}: still open")));
    }
    Ok(expectation)
}

/// Opens listeners with full queues that nobody empties; returns them with the queued clients.
fn fill() -> Result<Vec<(Listener, Vec<Socket>)>> {
    sysctl::defaults()?;
    let fill = |port| {
        let listener = Listener::ipv4(port, 2)?;
        let waiting = listener.fill(3, false)?;
        Ok((listener, waiting))
    };
    (FIRST_PORT + AT_ONCE..FIRST_PORT + 2 * AT_ONCE).map(fill).collect()
}

/// Waits until netqueue has found the listeners that existed before it.
fn wait_until_found(server: &Server, netns: u64) -> Result<()> {
    let deadline = Instant::now() + PATIENCE;
    while still_open(server, netns)?.len() < usize::from(AT_ONCE) {
        if Instant::now() > deadline {
            bail!("netqueue did not find the listeners that were there before it");
        }
        thread::sleep(Duration::from_millis(100));
    }
    Ok(())
}

/// Lets the daemon run only part of the time.
fn starve(own: &OwnDaemon, stop: &AtomicBool) -> Result<()> {
    while !stop.load(Ordering::Relaxed) {
        own.freeze()?;
        thread::sleep(STOPPED);
        own.wake()?;
        thread::sleep(RUNNING);
    }
    own.wake()
}

/// Opens, overflows and closes listeners, then closes those that existed before.
fn come_and_go(full: Vec<(Listener, Vec<Socket>)>) -> Result<()> {
    let done = thread::scope(|scope| {
        let ports: Vec<_> =
            (FIRST_PORT..FIRST_PORT + AT_ONCE).map(|port| scope.spawn(move || overflow(port))).collect();
        ports
            .into_iter()
            .try_for_each(|port| port.join().map_err(|_| anyhow!("a thread of the lab panicked"))?)
    });
    drop(full);
    done
}

fn overflow(port: u16) -> Result<()> {
    for _ in 0..ROUNDS {
        // The queue of listen(2) admits three connections.
        let listener = Listener::ipv4(port, 2)?;
        let queued = listener.fill(3, false)?;
        let late =
            (0..CLIENTS).map(|_| connect_nonblocking(listener.loopback())).collect::<Result<Vec<_>>>()?;
        listener.wait_for_drops(1)?;
        thread::sleep(OPEN);
        drop(listener);
        drop((queued, late));
    }
    Ok(())
}

/// The rows of listeners that netqueue considers open.
fn still_open(server: &Server, netns: u64) -> Result<Vec<String>> {
    let rows = patiently(|| observation::rows(server, netns))?;
    let open = rows.into_iter().filter(|row| row.kind == AccountKind::Listener && row.closed.is_none());
    Ok(open.map(|row| row.to_string()).collect())
}
