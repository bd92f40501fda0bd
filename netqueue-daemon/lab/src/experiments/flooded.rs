//! More drops than netqueue can report one by one: events are suppressed, and every count stays exact.

use std::time::{Duration, Instant};

use anyhow::Result;

use super::wait_for;
use crate::check;
use crate::counters::{self, Counter};
use crate::expectation::{
    Amount, Expectation, ExpectedListener, Experiment, Fixture, Scenario, Share, cause, stage,
};
use crate::observation::Observation;
use crate::own_daemon::OwnDaemon;
use crate::packet::Segment;
use crate::raw::{FakePeers, peer};
use crate::sockets::Listener;
use crate::sysctl;

pub(super) const FLOOD: Experiment = Experiment {
    number: "40",
    name: "flood-100k",
    incident: "100,000 SYNs from peers that never answer (--syns changes the number), tcp_syncookies=0, listen(1); meanwhile a neighbour's \
               listener drops one SYN in 2,000",
    verdict: "SYN queue full, every drop counted; some thousand of them are shown one by one, the others are counted as suppressed; each \
              drop of the neighbour is shown; the daemon's memory stays where it is",
    provoke: Scenario::Watching(flood),
};

pub(super) const STANDSTILL: Experiment = Experiment {
    number: "41",
    name: "reader-stands-still",
    incident: "a daemon with the smallest ring there is (--ring-size=4096, --event-rate=unlimited) is stopped with SIGSTOP while 2,000 SYNs \
               are dropped",
    verdict: "every drop counted, some two dozen events delivered and each of the others counted as lost: the ring was full; afterwards \
              events come again",
    provoke: Scenario::Watching(standstill),
};

/// Number of different peers; after that many SYNs the same peers return.
const PEERS: u32 = 40_000;
const ONE_IN: u32 = 2000;
/// Growth that the daemon is allowed during a flood, in KiB: room for the events it keeps.
const GROWTH: u64 = 16 << 10;
const PATIENCE: Duration = Duration::from_secs(20);

fn flood(fixture: &Fixture<'_>) -> Result<Expectation> {
    let syns = fixture.settings.syns;
    let own = fixture.server.map(|_| OwnDaemon::start(&[])).transpose()?;
    let before = own.as_ref().map(OwnDaemon::memory).transpose()?;
    let start = Instant::now();
    let (flooded, neighbour, fake) = fixture.netns.run(move || flood_two(syns))?;
    let took = start.elapsed().as_secs_f64();
    let mut expectation = Expectation {
        kernel: vec![
            // The queues below TCP may lose a few.
            (Counter::ListenDrops, Amount::AtLeast(u64::from(syns) * 99 / 100)),
            (Counter::ReqQFullDrop, Amount::All(Counter::ListenDrops)),
        ],
        listeners: vec![
            dropped(&flooded, Amount::AtLeast(u64::from(syns) * 98 / 100)),
            dropped(&neighbour, Amount::AtLeast(u64::from(syns / ONE_IN) / 2)),
        ],
        ..Expectation::default()
    };
    if let (Some(own), Some(before)) = (own, before) {
        let counted = fixture.netns.counters()?;
        let seen = Observation::of(own.server(), fixture.netns.inode())?;
        expectation.problems.extend(check::residuals(&counted, &seen.sum()));
        let after = own.memory()?;
        let status = own.status()?;
        expectation.problems.extend(status.identity());
        if after > before + GROWTH {
            expectation.problems.push(format!("the daemon's memory grew from {before} to {after} KiB"));
        }
        let row = |listener: &Listener| seen.rows.iter().find(|row| row.is_listener_at(listener.address()));
        if let (Some(flooded), Some(neighbour)) = (row(&flooded), row(&neighbour)) {
            let (told, drops) = (flooded.events.shown, flooded.drops.total);
            expectation.measured.push(format!(
                "{syns} SYNs in {took:.1} s: of {drops} drops {told} are shown, {} suppressed, {} lost; memory {before} KiB before, \
                 {after} KiB after",
                flooded.events.suppressed, flooded.events.lost
            ));
            if flooded.events.suppressed == 0 {
                expectation.problems.push("a flood was told event by event".to_owned());
            }
            if neighbour.events.shown != neighbour.drops.total {
                let events = neighbour.events;
                expectation.problems.push(format!("the neighbour's drops are not all shown: {events:?}"));
            }
        } else {
            expectation.problems.push("the lab's own daemon does not know both listeners".to_owned());
        }
    }
    expectation.open.push(Box::new((flooded, neighbour, fake)));
    Ok(expectation)
}

/// Fills the SYN queues of two listeners; one then gets all SYNs, the other one in [`ONE_IN`].
fn flood_two(syns: u32) -> Result<(Listener, Listener, FakePeers)> {
    let (flooded, fake) = full_listener(8040)?;
    let neighbour = Listener::ipv4(8041, 0)?;
    fake.send_syns(2, neighbour.loopback())?;
    for n in 0..syns {
        fake.send(peer((n % PEERS) as u16), flooded.loopback(), Segment::Syn)?;
        if n % ONE_IN == 0 {
            fake.send(peer((n / ONE_IN + 10) as u16), neighbour.loopback(), Segment::Syn)?;
        }
    }
    wait_for(Counter::ListenDrops, u64::from(syns) * 99 / 100, PATIENCE)?;
    Ok((flooded, neighbour, fake))
}

fn full_listener(port: u16) -> Result<(Listener, FakePeers)> {
    sysctl::defaults()?;
    sysctl::ensure("ipv4/tcp_syncookies", 0)?;
    let listener = Listener::ipv4(port, 1)?;
    let fake = FakePeers::create()?;
    fake.send_syns(2, listener.loopback())?;
    Ok((listener, fake))
}

fn dropped(listener: &Listener, amount: Amount) -> ExpectedListener {
    ExpectedListener {
        address: listener.address(),
        drops: vec![Share { cause: cause::SYN_QUEUE_FULL, stages: stage::SYN, amount }],
        resets: Some(vec![]),
        sole: false,
    }
}

fn standstill(fixture: &Fixture<'_>) -> Result<Expectation> {
    const SYNS: u16 = 2000;
    const AFTERWARDS: u64 = 8;
    let own = match fixture.server {
        Some(_) => Some(OwnDaemon::start(&["--ring-size=4096", "--event-rate=unlimited"])?),
        None => None,
    };
    if let Some(own) = &own {
        own.freeze()?;
    }
    let provoked = fixture.netns.run(|| {
        let (listener, fake) = full_listener(8042)?;
        fake.send_syns(SYNS, listener.loopback())?;
        wait_for(Counter::ListenDrops, u64::from(SYNS) - 2, PATIENCE)?;
        Ok((listener, fake))
    });
    if let Some(own) = &own {
        own.wake()?;
    }
    let (listener, fake) = provoked?;
    let mut expectation = Expectation {
        kernel: vec![(Counter::ListenDrops, Amount::AtLeast(u64::from(SYNS) - 2))],
        listeners: vec![dropped(&listener, Amount::All(Counter::ListenDrops))],
        ..Expectation::default()
    };
    let mut open = (listener, fake);
    if let Some(own) = own {
        let status = own.status()?;
        let (delivered, lost) = (status.events.stored, status.lost("ring_full"));
        expectation.measured.push(format!("{delivered} events delivered, {lost} lost"));
        expectation.problems.extend(status.identity());
        if delivered == 0 || lost < 1000 {
            expectation
                .problems
                .push(format!("{delivered} events were delivered and {lost} lost: the ring was not full"));
        }
        open = fixture.netns.run(move || {
            let before = counters::of_this_thread()?.get(Counter::ListenDrops);
            // The first two peers already have requests.
            open.1.send_syns(2 + AFTERWARDS as u16, open.0.loopback())?;
            wait_for(Counter::ListenDrops, before + AFTERWARDS, PATIENCE)?;
            Ok(open)
        })?;
        let again = own.status()?;
        expectation.problems.extend(again.identity());
        if again.events.stored < delivered + AFTERWARDS {
            expectation.problems.push(format!(
                "afterwards {} more events were delivered, of {AFTERWARDS} drops",
                again.events.stored - delivered
            ));
        }
        let seen = Observation::of(own.server(), fixture.netns.inode())?;
        expectation.problems.extend(check::residuals(&fixture.netns.counters()?, &seen.sum()));
        let says = |warning: &String| warning.contains("ring_full");
        if !seen.warnings.iter().any(says) {
            expectation.problems.push("the answer does not say that events are missing".to_owned());
        }
    }
    expectation.open.push(Box::new(open));
    Ok(expectation)
}

/// Default number of SYNs of the flood.
pub(crate) const SYNS: u32 = 100_000;
