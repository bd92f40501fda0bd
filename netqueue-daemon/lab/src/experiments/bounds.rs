//! More listeners than fit, at once and one after the other: sums stay exact and memory stays bounded.

use netqueue_api::AccountKind;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Result;

use super::wait_for;
use crate::check;
use crate::counters::{self, Counter};
use crate::expectation::{Amount, Expectation, Experiment, Fixture, Scenario};
use crate::metrics;
use crate::observation::Observation;
use crate::own_daemon::{OwnDaemon, Status};
use crate::raw::FakePeers;
use crate::sockets::Listener;
use crate::sysctl;

pub(super) const FULL_MAPS: Experiment = Experiment {
    number: "42",
    name: "maps-full",
    incident: "a daemon with room for 16 listeners (--max-listeners=16), 40 listeners that drop SYNs",
    verdict: "16 listeners have counts of their own, the drops of the others are in port=\"other\" and no drop is missing; when all are \
              closed, all the room is there again",
    provoke: Scenario::Watching(full_maps),
};

pub(super) const COME_AND_GO: Experiment = Experiment {
    number: "43",
    name: "ports-come-and-go",
    incident: "4,000 listeners (--ports changes the number), 125 at a time on ports of their own, each of which drops SYNs and is \
               closed; a daemon with room for 512 that keeps closed ones for a second",
    verdict: "every drop counted, those of closed listeners under port=\"gone\" in the end; slots, series and memory are where they were",
    provoke: Scenario::Watching(come_and_go),
};

/// Default number of ports that are opened and closed.
pub(crate) const PORTS: u32 = 4000;

const PATIENCE: Duration = Duration::from_secs(20);
const FIRST: u16 = 12_000;
const LAST: u16 = 62_000;
/// Number of SYNs per listener; on most kernels the first finds room.
const SYNS: u16 = 3;
const WARM_UP: u32 = 2000;
/// Number of ports that open at once before a pause; slots take a fraction of a second to be reclaimed.
const BATCH: u32 = 125;
const PAUSE: Duration = Duration::from_millis(75);
/// Growth that the daemon is allowed between the end of the warm-up and the last port, in KiB.
const GROWTH: u64 = 20 << 10;

fn full_maps(fixture: &Fixture<'_>) -> Result<Expectation> {
    const LISTENERS: u16 = 40;
    const ROOM: usize = 16;
    let own = fixture.server.map(|_| OwnDaemon::start(&["--max-listeners=16"])).transpose()?;
    let (listeners, fake) = fixture.netns.run(|| {
        let fake = prepare()?;
        let listeners =
            (FIRST..FIRST + LISTENERS).map(|port| drop_syns(&fake, port)).collect::<Result<Vec<_>>>()?;
        wait_for(Counter::ListenDrops, u64::from(LISTENERS) * 2, PATIENCE)?;
        Ok((listeners, fake))
    })?;
    let mut expectation = Expectation {
        kernel: vec![(Counter::ListenDrops, Amount::AtLeast(u64::from(LISTENERS) * 2))],
        ..Expectation::default()
    };
    if let Some(own) = own {
        let seen = Observation::of(own.server(), fixture.netns.inode())?;
        expectation.problems.extend(check::residuals(&fixture.netns.counters()?, &seen.sum()));
        let apart = seen.rows.iter().filter(|row| row.kind == AccountKind::Listener).count();
        let other: u64 =
            seen.rows.iter().filter(|row| row.kind == AccountKind::Other).map(|row| row.drops.total).sum();
        let status = own.status()?;
        let (used, folded) = (status.slots("listeners")?.used, status.events.folded);
        expectation.measured.push(format!(
            "{apart} listeners of their own in {used} slots, {other} drops of others, {folded} charges folded"
        ));
        // The two daemons' own listeners, in another namespace, may have had a slot each before.
        if used != ROOM as u64 || !(ROOM - 2..=ROOM).contains(&apart) || other == 0 || folded == 0 {
            expectation
                .problems
                .push(format!("expected {ROOM} slots for listeners, and what has none in `other`"));
        }
        drop(listeners);
        expectation.problems.extend(until(&own, "all listeners are closed", |status| {
            let slots = status.slots("listeners")?;
            // The daemon's own listener, which serves this request, may have a slot by now.
            Ok((slots.used > 1).then(|| format!("{} of {} slots are still used", slots.used, slots.capacity)))
        })?);
        let closed = Observation::of(own.server(), fixture.netns.inode())?;
        expectation.problems.extend(check::residuals(&fixture.netns.counters()?, &closed.sum()));
    } else {
        expectation.open.push(Box::new(listeners));
    }
    expectation.open.push(Box::new(fake));
    Ok(expectation)
}

fn come_and_go(fixture: &Fixture<'_>) -> Result<Expectation> {
    let ports = fixture.settings.ports.max(WARM_UP);
    let settings = ["--max-listeners=512", "--keep-closed=1s", "--event-memory=64KiB"];
    let own = fixture.server.map(|_| OwnDaemon::start(&settings)).transpose()?;
    let series = |own: &OwnDaemon| metrics::series(own.server());
    let used = |own: &OwnDaemon| Ok::<_, anyhow::Error>(own.status()?.slots("listeners")?.used);
    let before = own.as_ref().map(|own| Ok::<_, anyhow::Error>((series(own)?, used(own)?))).transpose()?;
    let fresh = own.as_ref().map(OwnDaemon::memory).transpose()?;

    let mut fake = fixture.netns.run(prepare)?;
    let start = Instant::now();
    let mut warm = None;
    for first in (0..ports).step_by(BATCH as usize) {
        fake = fixture.netns.run(move || {
            let batch = first..(first + BATCH).min(ports);
            let port = |n: u32| FIRST + (n % u32::from(LAST - FIRST)) as u16;
            let before = counters::of_this_thread()?.get(Counter::ListenDrops);
            let open = batch.clone().map(|n| drop_syns(&fake, port(n))).collect::<Result<Vec<_>>>()?;
            // A SYN that arrives after its listener has closed would be answered with a reset.
            wait_for(Counter::ListenDrops, before + u64::from(SYNS - 1) * open.len() as u64, PATIENCE)?;
            thread::sleep(PAUSE);
            drop(open);
            thread::sleep(PAUSE);
            Ok(fake)
        })?;
        if let Some(own) = own.as_ref().filter(|_| first >= WARM_UP && warm.is_none()) {
            // Measure memory while ports come and go; the scrape reports the last closed ones.
            series(own)?;
            warm = Some(own.memory()?);
        }
    }
    let took = start.elapsed().as_secs_f64();
    let mut expectation = Expectation {
        kernel: vec![(Counter::ListenDrops, Amount::AtLeast(u64::from(ports) * 2))],
        ..Expectation::default()
    };
    if let (Some(own), Some((series_before, used_before))) = (own, before) {
        expectation.problems.extend(until(&own, "all listeners are closed", |status| {
            // Scrape in each poll: closed listeners are kept until they have been scraped.
            let (series, used) = (series(&own)?, status.slots("listeners")?.used);
            // The closed listeners share a row of drops per cause and stage, with the metrics that accompany
            // it.
            let back = used <= used_before && series <= series_before + metrics::OF_ONE_PLACE;
            Ok((!back).then(|| {
                format!("{used} slots are used, {used_before} were; {series} series, {series_before} were")
            }))
        })?);
        let seen = Observation::of(own.server(), fixture.netns.inode())?;
        expectation.problems.extend(check::residuals(&fixture.netns.counters()?, &seen.sum()));
        let status = own.status()?;
        expectation.problems.extend(status.identity());
        let (after, slots) = (own.memory()?, status.slots("listeners")?);
        expectation.measured.push(format!(
            "{ports} ports in {took:.1} s: {} slots given back, {} used of {}; {} charges folded; memory {} KiB at first, {} KiB after {WARM_UP} \
             ports, {after} KiB at the end; {series_before} series before, {} after",
            slots.given_back,
            slots.used,
            slots.capacity,
            status.events.folded,
            fresh.unwrap_or(0),
            warm.unwrap_or(0),
            series(&own)?,
        ));
        // Listeners that found no slot in time were charged to `other`.
        if slots.given_back < slots.capacity || slots.given_back + status.events.folded < u64::from(ports) {
            expectation.problems.push(format!("only {} slots were given back", slots.given_back));
        }
        if warm.is_some_and(|warm| after > warm + GROWTH) {
            expectation.problems.push(format!("the daemon's memory grew to {after} KiB"));
        }
    }
    expectation.open.push(Box::new(fake));
    Ok(expectation)
}

/// Polls until `wrong` finds no problem; returns the last problem at the time limit.
fn until(
    own: &OwnDaemon,
    when: &str,
    wrong: impl Fn(&Status) -> Result<Option<String>>,
) -> Result<Option<String>> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match wrong(&own.status()?)? {
            Some(wrong) if Instant::now() > deadline => return Ok(Some(format!("{when}: {wrong}"))),
            Some(_) => thread::sleep(Duration::from_millis(200)),
            None => return Ok(None),
        }
    }
}

fn prepare() -> Result<FakePeers> {
    sysctl::defaults()?;
    sysctl::ensure("ipv4/tcp_syncookies", 0)?;
    FakePeers::create()
}

/// Overflows a listener with room for one handshake; loopback delivers the SYNs during the send.
fn drop_syns(fake: &FakePeers, port: u16) -> Result<Listener> {
    let listener = Listener::ipv4(port, 0)?;
    fake.send_syns(SYNS, listener.loopback())?;
    Ok(listener)
}
