//! A wall clock set back, as by a restored virtual machine or a first synchronisation.
//! Intervals must continue, or spikes, deliveries and retention would stop until the clock has caught up.

use std::thread;
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context, Result};
use netqueue_api::{Event, Events, Listener as Row, Listeners, Spike, Spikes};
use socket2::Socket;

use super::wait_for;
use crate::client::Server;
use crate::counters::{self, Counter};
use crate::expectation::{Amount, Expectation, Experiment, Fixture, Scenario};
use crate::host_setting::{self, ClockSetBack};
use crate::metrics;
use crate::own_daemon::OwnDaemon;
use crate::sockets::{Listener, PATIENCE, connect_nonblocking};
use crate::sysctl;

pub(super) const SET_BACK: Experiment = Experiment {
    number: "K1",
    name: "clock-set-back",
    incident: "a listener drops one SYN and is closed; the wall clock is set back a day; another listener drops a burst",
    verdict: "the burst is a spike, events are in order with times of the clock as it is set, and the closed listener is folded in time",
    provoke: Scenario::Watching(set_back),
};

const CLOSED_PORT: u16 = 8241;
const BURST_PORT: u16 = 8242;
const DAY: Duration = Duration::from_secs(86_400);
const BURST: u64 = 100;
const SETTLED: Duration = Duration::from_secs(4);
/// Maximum distance of a reported time from now.
const RECENT: Duration = Duration::from_secs(300);

fn set_back(fixture: &Fixture<'_>) -> Result<Expectation> {
    host_setting::allowed(fixture.settings, "it sets the wall clock back a day for some seconds")?;
    let own = fixture.server.map(|_| OwnDaemon::start(&["--keep-closed=1s"])).transpose()?;
    let closed = fixture.netns.run(|| {
        sysctl::defaults()?;
        drop_at(CLOSED_PORT, 1)
    })?;
    if let Some(own) = &own {
        // The daemon must have the listener and its drop before the listener closes.
        events(own, fixture, "")?;
    }
    drop(closed);
    let clock = ClockSetBack::by(DAY)?;
    let since = SystemTime::now();
    // Wait until what began before the step is over: even a daemon that uses the wall clock would see a burst
    // right after the step.
    thread::sleep(SETTLED);
    let burst = fixture.netns.run(|| drop_at(BURST_PORT, BURST))?;
    let mut expectation = Expectation {
        kernel: vec![(Counter::ListenDrops, Amount::AtLeast(BURST))],
        open: vec![Box::new(burst)],
        ..Expectation::default()
    };
    if let (Some(own), Some(server)) = (&own, fixture.server) {
        let problems = [
            // The lab's own daemon is too young to have a baseline, so query the other one.
            until("the burst is no spike", || spike(server, fixture))?,
            until("the closed listener is not folded", || folded(own, fixture))?,
            events_wrong(own, fixture, since)?,
        ];
        expectation.problems.extend(problems.into_iter().flatten());
    }
    clock.restore()?;
    Ok(expectation)
}

/// Opens a listener that drops at least `drops` SYNs.
/// Returns its clients, which send no more SYNs once they are dropped with it.
fn drop_at(port: u16, drops: u64) -> Result<(Listener, Vec<Socket>)> {
    let listener = Listener::ipv4(port, 0)?;
    let known = counters::of_this_thread()?.get(Counter::ListenDrops);
    let mut clients = listener.fill(1, false)?;
    for _ in 0..drops {
        clients.push(connect_nonblocking(listener.loopback())?);
    }
    wait_for(Counter::ListenDrops, known + drops, PATIENCE)?;
    Ok((listener, clients))
}

/// Polls until the condition holds; returns the problem at the time limit.
fn until(problem: &str, so: impl Fn() -> Result<bool>) -> Result<Option<String>> {
    let deadline = Instant::now() + PATIENCE;
    while !so()? {
        if Instant::now() > deadline {
            return Ok(Some(format!("{problem} within {} s", PATIENCE.as_secs())));
        }
        thread::sleep(Duration::from_millis(200));
    }
    Ok(None)
}

fn spike(server: &Server, fixture: &Fixture<'_>) -> Result<bool> {
    let of_burst = |spike: &Spike| {
        u64::from(spike.netns_inode) == fixture.netns.inode() && spike.port == Some(BURST_PORT)
    };
    Ok(server.ask::<Spikes>("/api/v1/spikes")?.data.spikes.iter().any(of_burst))
}

/// Returns whether the closed listener has been folded, which takes two scrapes after its retention.
fn folded(own: &OwnDaemon, fixture: &Fixture<'_>) -> Result<bool> {
    metrics::series(own.server())?;
    let kept =
        |row: &Row| u64::from(row.netns_inode) == fixture.netns.inode() && row.port == Some(CLOSED_PORT);
    Ok(!own.server().ask::<Listeners>("/api/v1/listeners")?.data.listeners.iter().any(kept))
}

fn events(own: &OwnDaemon, fixture: &Fixture<'_>, and: &str) -> Result<Vec<(Duration, Option<u16>)>> {
    let path = format!("/api/v1/events?order=asc&limit=1000&netns={}{and}", fixture.netns.inode());
    let Events { events, .. } = own.server().ask(&path)?.data;
    let read = |event: Event| Ok((Duration::from_nanos(event.time_ns.parse()?), event.port));
    events.into_iter().map(read).collect()
}

/// Checks the events and their times; `stepped` is the wall clock just after it was set back.
fn events_wrong(own: &OwnDaemon, fixture: &Fixture<'_>, stepped: SystemTime) -> Result<Option<String>> {
    let of_clock = |time: SystemTime| time.duration_since(SystemTime::UNIX_EPOCH).context("before the epoch");
    let (all, now) = (events(own, fixture, "")?, of_clock(SystemTime::now())?);
    let ports: Vec<_> = all.iter().filter_map(|(_, port)| *port).collect();
    if ports.first() != Some(&CLOSED_PORT) || ports.last() != Some(&BURST_PORT) {
        return Ok(Some(format!("the events are at ports {ports:?}, in this order")));
    }
    if !all.is_sorted_by_key(|(time, _)| *time) {
        return Ok(Some("the times of the events are not in order".to_owned()));
    }
    if let Some((time, _)) = all.iter().find(|(time, _)| time.abs_diff(now) > RECENT) {
        return Ok(Some(format!("an event of a moment ago is shown {:?} away from now", time.abs_diff(now))));
    }
    let later = events(own, fixture, &format!("&since={}", of_clock(stepped)?.as_secs_f64()))?;
    let wrong = later.is_empty() || later.iter().any(|(_, port)| *port != Some(BURST_PORT));
    Ok(wrong.then(|| format!("{} events are found since the clock was set back", later.len())))
}
