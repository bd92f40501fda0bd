//! Clients that suffer without a drop, and a server whose usual pause between accepts is long.

use std::thread;
use std::time::{Duration, Instant, SystemTime};

use anyhow::Result;

use crate::counters::Counter;
use crate::diagnosis;
use crate::expectation::{Amount, Expectation, Experiment, Fixture, Scenario};
use crate::sockets::{Listener, connect, connect_nonblocking};
use crate::sysctl;

pub(super) const HANG: Experiment = Experiment {
    number: "58",
    name: "hang-behind-backlog",
    incident: "listen(4096), the server accepts one client and then nothing; 70 clients connect and wait for 16 s",
    verdict: "no drop, and no client is served: the process has accepted nothing for so long, and 70 connections wait",
    provoke: Scenario::Watching(hang),
};

pub(super) const WORKERS: Experiment = Experiment {
    number: "59",
    name: "workers-busy",
    incident: "listen(8), three workers take 3 s for a request, three clients come a second, for 24 s",
    verdict: "too few workers: 1 connection a second is accepted, 3 arrive; the process has not stopped, and no backlog is enough",
    provoke: Scenario::Watching(workers),
};

fn hang(fixture: &Fixture<'_>) -> Result<Expectation> {
    const CLIENTS: usize = 70;
    const WAITED: Duration = Duration::from_secs(16);
    let start = SystemTime::now();
    let (listener, port, held) = fixture.netns.run(|| {
        sysctl::defaults()?;
        let listener = Listener::ipv4(0, 4096)?;
        let mut held = vec![connect(listener.loopback())?];
        held.extend(listener.try_accept()?);
        for _ in 0..CLIENTS {
            held.push(connect(listener.loopback())?);
        }
        thread::sleep(WAITED);
        let port = listener.address().port();
        Ok((listener, port, held))
    })?;
    let mut expectation =
        Expectation { kernel: vec![(Counter::ListenDrops, Amount::Exactly(0))], ..Expectation::default() };
    let words = ["has accepted nothing for", "; 70 connections wait for accept(). Nothing was dropped"];
    told(fixture, port, start, ("accept_queue_waiting", "never_served"), &words, &mut expectation)?;
    expectation.open.push(Box::new((listener, held)));
    Ok(expectation)
}

fn workers(fixture: &Fixture<'_>) -> Result<Expectation> {
    const LASTS: Duration = Duration::from_secs(24);
    const REQUEST: Duration = Duration::from_secs(3);
    let start = SystemTime::now();
    let (listener, port, held) = fixture.netns.run(|| {
        sysctl::defaults()?;
        let listener = Listener::ipv4(0, 8)?;
        let (start, mut held) = (Instant::now(), Vec::new());
        let (mut next_client, mut next_accept) = (start, start);
        while start.elapsed() < LASTS {
            let now = Instant::now();
            if now >= next_client {
                held.push(connect_nonblocking(listener.loopback())?);
                next_client += Duration::from_secs(1) / 3;
            }
            if now >= next_accept {
                for _ in 0..3 {
                    held.extend(listener.try_accept()?);
                }
                next_accept += REQUEST;
            }
            thread::sleep(Duration::from_millis(20));
        }
        let port = listener.address().port();
        Ok((listener, port, held))
    })?;
    let mut expectation =
        Expectation { kernel: vec![(Counter::ListenDrops, Amount::AtLeast(20))], ..Expectation::default() };
    let words = ["connections per second, and", "arrive: no backlog is enough"];
    told(fixture, port, start, ("accept_queue_slow", "delayed"), &words, &mut expectation)?;
    expectation.open.push(Box::new((listener, held)));
    Ok(expectation)
}

/// Compares the first verdict on a port with the expected rule, impact and words.
fn told(
    fixture: &Fixture<'_>,
    port: u16,
    since: SystemTime,
    (rule, impact): (&str, &str),
    words: &[&str],
    expectation: &mut Expectation,
) -> Result<()> {
    let Some(server) = fixture.server else { return Ok(()) };
    let said = diagnosis::at_port(server, fixture.netns.inode(), port, since)?;
    match said.first() {
        Some(first)
            if (first.rule.as_str(), first.impact.as_str()) == (rule, impact)
                && words.iter().all(|word| first.summary.contains(word)) =>
        {
            expectation.measured.push(format!("it says: {}", diagnosis::words(first)));
        }
        first => {
            let first = first.map_or("nothing".to_owned(), diagnosis::words);
            expectation
                .problems
                .push(format!("{rule} ({impact}) with the words {words:?} was to be said first: {first}"));
        }
    }
    Ok(())
}
