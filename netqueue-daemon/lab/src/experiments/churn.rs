//! Hundreds of short-lived namespaces, as on a host that runs short jobs.
//! Their inode numbers are reused again and again, and each namespace's drops must remain its own.

use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow};
use socket2::Socket;

use super::wait_for;
use crate::counters::{Counter, Counters};
use crate::endings::Endings;
use crate::expectation::{Amount, Expectation, ExpectedListener, Experiment, Fixture, Scenario, stage};
use crate::netns::Netns;
use crate::sockets::{Listener, connect_nonblocking};
use crate::{counters, sysctl};

pub(super) const CHURN: Experiment = Experiment {
    number: "38",
    name: "namespace-churn",
    incident: "240 network namespaces, 12 at a time: in each a listener overflows, each time by another number of clients, \
               then all of it is destroyed at once; beside them, one namespace lives on",
    verdict: "accept queue full in each: at its end every namespace's counters were exactly what its listener was charged, \
              and none was taken for one that had its inode number before",
    provoke: Scenario::Watching(churn),
};

const NAMESPACES: u64 = 240;
const AT_ONCE: usize = 12;
const PORT: u16 = 8028;

fn churn(fixture: &Fixture<'_>) -> Result<Expectation> {
    let endings = Endings::begin(fixture.server)?;
    let mut expectation = fixture.netns.run(|| neighbour(PORT, 3))?;
    let next = AtomicU64::new(0);
    thread::scope(|scope| {
        let work = || -> Result<()> {
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                if number >= NAMESPACES {
                    return Ok(());
                }
                live_and_die(number, &endings)?;
            }
        };
        let workers: Vec<_> = (0..AT_ONCE).map(|_| scope.spawn(work)).collect();
        workers
            .into_iter()
            .try_for_each(|worker| worker.join().map_err(|_| anyhow!("a thread of the lab panicked"))?)
    })?;
    let (namespaces, inodes) = endings.numbers();
    expectation.measured.push(format!("{namespaces} namespaces had {inodes} inode numbers"));
    if let Some(server) = fixture.server {
        expectation.problems.extend(endings.check(server)?);
    }
    Ok(expectation)
}

/// Overflows a listener in the namespace that lives throughout the experiment.
fn neighbour(port: u16, clients: u64) -> Result<Expectation> {
    sysctl::defaults()?;
    let (listener, sockets) = overflow(port, clients)?;
    Ok(Expectation {
        kernel: vec![(Counter::ListenDrops, Amount::AtLeast(clients))],
        listeners: vec![ExpectedListener::overflowed(
            listener.address(),
            stage::SYN,
            Amount::All(Counter::ListenDrops),
        )],
        open: vec![Box::new((listener, sockets))],
        ..Expectation::default()
    })
}

fn live_and_die(number: u64, endings: &Endings) -> Result<()> {
    let netns = Netns::create()?;
    let counted = netns.run(move || {
        drop(overflow(PORT, 1 + number % 7)?);
        // Connect to a closed port as well: the listener is not the only account charged, for it has just
        // reset
        // the clients in its queue.
        let before = counters::of_this_thread()?.get(Counter::OutRsts);
        let refused = connect_nonblocking((Ipv4Addr::LOCALHOST, PORT + 1).into())?;
        wait_for(Counter::OutRsts, before + 1, Duration::from_secs(5))?;
        drop(refused);
        at_rest()
    })?;
    endings.add(netns.inode(), counted);
    Ok(())
}

/// Reads the namespace's counters once they are stable, because closing may leave packets under way.
fn at_rest() -> Result<Counters> {
    const REST: Duration = Duration::from_millis(200);
    let (mut counted, mut since) = (counters::of_this_thread()?, Instant::now());
    while since.elapsed() < REST {
        thread::sleep(REST / 8);
        let now = counters::of_this_thread()?;
        if now != counted {
            (counted, since) = (now, Instant::now());
        }
    }
    Ok(counted)
}

fn overflow(port: u16, clients: u64) -> Result<(Listener, Vec<Socket>)> {
    let listener = Listener::ipv4(port, 0)?;
    let mut sockets = listener.fill(1, false)?;
    for _ in 0..clients {
        sockets.push(connect_nonblocking(listener.loopback())?);
    }
    wait_for(Counter::ListenDrops, clients, Duration::from_secs(5))?;
    Ok((listener, sockets))
}
