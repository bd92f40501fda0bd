//! A single drop is visible as soon as the kernel has counted it: in the metrics, and as an event.

use netqueue_api::EventKind;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::Result;

use super::wait_for;
use crate::client::Server;
use crate::counters::Counter;
use crate::expectation::{
    Amount, Expectation, ExpectedEvents, ExpectedListener, Experiment, Fixture, QueueState, Scenario, cause,
    stage,
};
use crate::sockets::{Listener, connect_nonblocking, local_address};
use crate::{counters, metrics, observation, sysctl};

pub(super) const VISIBLE: Experiment = Experiment {
    number: "20",
    name: "visible",
    incident: "7 times one SYN is dropped, each by a listener that never dropped anything before",
    verdict: "once the kernel has counted a drop, half of the answers or more show it, in the metrics and among the events, and no more \
              than one is in vain, asked while netqueue's own program was about to; how long that took from connect() on is measured, and is \
              the machine's",
    provoke: Scenario::Watching(visible),
};

const TIMES: u16 = 7;
const FIRST_PORT: u16 = 8020;
/// Number of answers that may lack a drop the kernel has counted.
/// The eBPF program that reports it may still be running on another CPU.
const IN_VAIN: u32 = 1;
/// Time limit: later the client's retransmitted SYN is dropped too.
const PATIENCE: Duration = Duration::from_secs(5);

fn visible(fixture: &Fixture<'_>) -> Result<Expectation> {
    fixture.netns.run(sysctl::defaults)?;
    let mut answers = Surface::BOTH.map(|surface| (surface, Vec::new()));
    let mut expectation = Expectation {
        kernel: vec![
            (Counter::ListenOverflows, Amount::AtLeast(TIMES.into())),
            (Counter::ListenDrops, Amount::All(Counter::ListenOverflows)),
        ],
        ..Expectation::default()
    };
    let mut events = Vec::new();
    for n in 0..TIMES {
        let port = FIRST_PORT + n;
        let (listener, queued) = fixture.netns.run(move || {
            let listener = Listener::ipv4(port, 1)?;
            let queued = listener.fill(2, false)?;
            Ok((listener, queued))
        })?;
        let target = listener.loopback();
        let (start, client) = fixture.netns.run(move || {
            let before = counters::of_this_thread()?.get(Counter::ListenDrops);
            let start = Instant::now();
            let client = connect_nonblocking(target)?;
            wait_for(Counter::ListenDrops, before + 1, PATIENCE)?;
            Ok((start, client))
        })?;
        if let Some(server) = fixture.server {
            watch(server, fixture.netns.inode(), port, start, &mut answers)?;
        }
        // Alternate which surface is queried first.
        answers.reverse();
        expectation.listeners.push(dropped(&listener));
        events.push(event(port, vec![local_address(&client)?]));
        expectation.open.push(Box::new((listener, queued)));
    }
    expectation.events = Some(events);
    for (surface, answers) in answers.iter_mut().filter(|(_, answers)| !answers.is_empty()) {
        let (path, (in_vain, took), (most, longest)) = (surface.path(), median(answers), longest(answers));
        expectation.measured.push(format!(
            "visible in {path} after {in_vain} answers in vain and {} ms (median), {most} and {} ms (longest)",
            took.as_millis(),
            longest.as_millis()
        ));
        if in_vain > IN_VAIN {
            expectation
                .problems
                .push(format!("{path}: half of the drops were missing in {in_vain} answers or more"));
        }
    }
    expectation.measured.sort();
    Ok(expectation)
}

/// The number of answers that lacked a drop, and the time from connect() until one contained it.
type Answered = (u32, Duration);

/// A place where netqueue shows a drop.
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

/// Polls both surfaces in turn until each has shown the drop, and records the time.
fn watch(
    server: &Server,
    netns: u64,
    port: u16,
    start: Instant,
    answers: &mut [(Surface, Vec<Answered>)],
) -> Result<()> {
    for (surface, answers) in answers {
        let mut in_vain = 0;
        while !surface.shows(server, netns, port)? && start.elapsed() < PATIENCE {
            in_vain += 1;
        }
        answers.push((in_vain, start.elapsed()));
    }
    Ok(())
}

/// Expects the drop of one try; more occur only if no surface showed it within a second.
fn dropped(listener: &Listener) -> ExpectedListener {
    ExpectedListener::overflowed(listener.address(), stage::SYN, Amount::AtLeast(1))
}

fn event(port: u16, peers: Vec<SocketAddr>) -> ExpectedEvents {
    ExpectedEvents {
        kind: EventKind::Drop,
        cause: cause::ACCEPT_QUEUE_FULL,
        stages: stage::SYN,
        port,
        peers,
        at_least: 1,
        accept_queue: Some(QueueState { length: 2..=2, limit: 1 }),
        syn_queue: None,
    }
}

fn median(answers: &mut [Answered]) -> Answered {
    answers.sort_unstable();
    answers.get(answers.len() / 2).copied().unwrap_or_default()
}

fn longest(answers: &[Answered]) -> Answered {
    let most = |of: fn(&Answered) -> Duration| answers.iter().map(of).max().unwrap_or_default();
    (answers.iter().map(|(in_vain, _)| *in_vain).max().unwrap_or_default(), most(|(_, took)| *took))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_slow_try_is_the_longest_and_not_the_median() {
        let mut answers =
            [(1, 900), (0, 3), (0, 5), (0, 4), (7, 7)].map(|(n, ms)| (n, Duration::from_millis(ms)));
        assert_eq!(median(&mut answers), (0, Duration::from_millis(5)));
        assert_eq!(longest(&answers), (7, Duration::from_millis(900)));
    }
}
