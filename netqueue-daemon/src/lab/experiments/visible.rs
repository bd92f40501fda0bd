//! How soon a single drop is visible to those who ask: in the metrics, and as an event.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::Result;

use super::wait_for;
use crate::lab::client::Server;
use crate::lab::counters::Counter;
use crate::lab::scene::{
    Amount, Bench, ExpectedEvents, ExpectedListener, Experiment, Provoke, QueueState, Scene, cause, stage,
};
use crate::lab::sockets::{Listener, connect_nonblocking, local_address};
use crate::lab::{metrics, observation, sysctl};

pub(super) const VISIBLE: Experiment = Experiment {
    number: "20",
    name: "visible",
    incident: "7 times one SYN is dropped, each by a listener that never dropped anything before",
    verdict: "half of the drops or more were in the metrics and among the events within 200 ms, and what it takes to ask both on this \
              machine when nothing happens; the time begins before connect() and ends when the answer that showed the drop was \
              read, requests in vain included",
    provoke: Provoke::Watching(visible),
};

const TIMES: u16 = 7;
const FIRST_PORT: u16 = 8020;
const PROMISED: Duration = Duration::from_millis(200);
/// When to give up: the client's next SYN is then dropped, too.
const PATIENCE: Duration = Duration::from_secs(5);

fn visible(bench: &Bench<'_>) -> Result<Scene> {
    bench.netns.run(sysctl::defaults)?;
    let mut delays = Surface::BOTH.map(|surface| (surface, Vec::new()));
    let mut scene = Scene {
        kernel: vec![
            (Counter::ListenOverflows, Amount::AtLeast(TIMES.into())),
            (Counter::ListenDrops, Amount::All(Counter::ListenOverflows)),
        ],
        ..Scene::default()
    };
    let mut events = Vec::new();
    let mut asking = Vec::new();
    for n in 0..TIMES {
        let port = FIRST_PORT + n;
        let (listener, queued) = bench.netns.run(move || {
            let listener = Listener::ipv4(port, 1)?;
            let queued = listener.fill(2, false)?;
            Ok((listener, queued))
        })?;
        if let Some(server) = bench.server {
            asking.push(ask_in_vain(server, bench.netns.inode(), port)?);
        }
        let target = listener.loopback();
        let (start, client) = bench.netns.run(move || {
            let start = Instant::now();
            Ok((start, connect_nonblocking(target)?))
        })?;
        match bench.server {
            Some(server) => watch(server, bench.netns.inode(), port, start, &mut delays)?,
            None => bench.netns.run(move || wait_for(Counter::ListenDrops, u64::from(n) + 1, PATIENCE))?,
        }
        // Neither surface is always the one that is asked first.
        delays.reverse();
        scene.listeners.push(dropped(&listener));
        events.push(event(port, vec![local_address(&client)?]));
        scene.open.push(Box::new((listener, queued)));
    }
    scene.events = Some(events);
    // A machine that has no time for the one who asks says nothing of netqueue.
    let (asking, _) = summary(&mut asking);
    for (surface, delays) in delays.iter_mut().filter(|(_, delays)| !delays.is_empty()) {
        let (median, longest) = summary(delays);
        scene.measured.push(format!(
            "visible in {} after {} ms (median), {} ms (longest)",
            surface.path(),
            median.as_millis(),
            longest.as_millis()
        ));
        if median > PROMISED + asking {
            let (path, promised, asking) = (surface.path(), PROMISED.as_millis(), asking.as_millis());
            scene
                .problems
                .push(format!("{path}: half of the drops took longer than {promised} + {asking} ms"));
        }
    }
    scene.measured.sort();
    if bench.server.is_some() {
        scene.measured.push(format!("asking both takes {} ms when nothing happens", asking.as_millis()));
    }
    Ok(scene)
}

/// Where a drop can be seen.
#[derive(Clone, Copy)]
enum Surface {
    Metrics,
    Events,
}

impl Surface {
    const BOTH: [Self; 2] = [Self::Metrics, Self::Events];

    const fn path(self) -> &'static str {
        match self {
            Self::Metrics => "/metrics",
            Self::Events => "/api/v1/events",
        }
    }

    fn shows(self, server: &Server, netns: u64, port: u16) -> Result<bool> {
        match self {
            Self::Metrics => Ok(metrics::drops(server, netns, port)?.is_some_and(|drops| drops > 0)),
            Self::Events => observation::any_drop(server, netns, port),
        }
    }
}

/// What it takes to ask both surfaces once.
fn ask_in_vain(server: &Server, netns: u64, port: u16) -> Result<Duration> {
    let start = Instant::now();
    for surface in Surface::BOTH {
        surface.shows(server, netns, port)?;
    }
    Ok(start.elapsed())
}

/// Asks both surfaces in turn until each has shown the drop, and notes when it did.
fn watch(
    server: &Server,
    netns: u64,
    port: u16,
    start: Instant,
    delays: &mut [(Surface, Vec<Duration>)],
) -> Result<()> {
    let mut waiting: Vec<_> = delays.iter_mut().map(|(surface, delays)| (*surface, delays)).collect();
    while !waiting.is_empty() {
        let mut missing = Vec::new();
        for (surface, delays) in waiting {
            let shown = surface.shows(server, netns, port)?;
            let elapsed = start.elapsed();
            if shown || elapsed > PATIENCE {
                delays.push(elapsed);
            } else {
                missing.push((surface, delays));
            }
        }
        waiting = missing;
    }
    Ok(())
}

/// The drop of one try. More of them only if nothing showed it within a second.
fn dropped(listener: &Listener) -> ExpectedListener {
    ExpectedListener::overflowed(listener.address(), stage::SYN, Amount::AtLeast(1))
}

fn event(port: u16, peers: Vec<SocketAddr>) -> ExpectedEvents {
    ExpectedEvents {
        kind: "drop",
        cause: cause::ACCEPT_QUEUE_FULL,
        stages: stage::SYN,
        port,
        peers,
        at_least: 1,
        accept_queue: Some(QueueState { length: 2..=2, limit: 1 }),
        syn_queue: None,
    }
}

/// The median and the longest.
fn summary(delays: &mut [Duration]) -> (Duration, Duration) {
    delays.sort();
    let at = |index: usize| delays.get(index).copied().unwrap_or_default();
    (at(delays.len() / 2), at(delays.len().saturating_sub(1)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_slow_try_is_the_longest_and_not_the_median() {
        let mut delays = [900, 3, 5, 4, 7].map(Duration::from_millis);
        assert_eq!(summary(&mut delays), (Duration::from_millis(5), Duration::from_millis(900)));
    }
}
