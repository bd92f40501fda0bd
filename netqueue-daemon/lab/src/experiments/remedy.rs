//! Verifies netqueue's advice on a backlog.
//! With the advised backlog the same burst passes; with a quarter less it does not.

use std::thread;
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context, Result, bail};

use crate::counters::{self, Counter};
use netqueue_api::{Counterfactual, Verdict};

use crate::diagnosis;
use crate::expectation::{Amount, Expectation, Experiment, Fixture, Scenario};
use crate::sockets::{Listener, connect_nonblocking};
use crate::sysctl;

pub(super) const REMEDY: Experiment = Experiment {
    number: "9b",
    name: "backlog-that-would-do",
    incident: "500 clients against listen(128), with nobody accepting and with one accept each 20 ms, three times each; then the same \
               against the backlog netqueue proposes, and against one a quarter smaller",
    verdict: "the proposed backlog takes each burst without a drop, one a quarter smaller does not",
    provoke: Scenario::Watching(remedy),
};

const CLIENTS: u32 = 500;
const BACKLOG: u32 = 128;
const PACE: Duration = Duration::from_millis(20);
const SEEDS: [u64; 3] = [1, 2, 3];
/// Dropped clients retransmit after 1 s: one retransmission is enough.
const WATCHED: Duration = Duration::from_millis(1500);

/// The purpose of a burst, which decides when it is over.
#[derive(Clone, Copy)]
enum Until {
    /// Get a verdict from netqueue, which takes retransmissions of dropped clients.
    TriedAgain,
    /// Learn whether anything is dropped: over at the first drop, or once every client is connected.
    Decided,
}
const SAID_WITHIN: Duration = Duration::from_secs(3);

fn remedy(fixture: &Fixture<'_>) -> Result<Expectation> {
    let mut expectation =
        Expectation { kernel: vec![(Counter::ListenDrops, Amount::AtLeast(300))], ..Expectation::default() };
    fixture.netns.run(sysctl::defaults)?;
    let mut port = 9100;
    for (words, pace) in [("nobody accepts", None), ("one accept each 20 ms", Some(PACE))] {
        for seed in SEEDS {
            let mut run = |backlog, until| {
                port += 1;
                let at = port;
                fixture.netns.run(move || burst(at, backlog, seed, pace, until)).map(|drops| (at, drops))
            };
            let start = SystemTime::now();
            let (at, drops) = run(BACKLOG, Until::TriedAgain)?;
            let Some(server) = fixture.server else { continue };
            let answer = counterfactual(|| diagnosis::at_port(server, fixture.netns.inode(), at, start))
                .with_context(|| format!("{words}, seed {seed}: {drops} drops"))?;
            let (Some(smallest), Some(proposed)) = (answer.smallest_backlog, answer.proposed_backlog) else {
                bail!("{words}, seed {seed}: netqueue says no backlog would have been enough");
            };
            let (with_it, less) =
                (run(proposed, Until::Decided)?.1, run(proposed * 3 / 4, Until::Decided)?.1);
            expectation.measured.push(format!(
                "{words}, seed {seed}: {drops} drops with {BACKLOG}; {smallest} would have done; {with_it} drops with {proposed}, \
                 {less} with {}",
                proposed * 3 / 4
            ));
            if with_it > 0 {
                expectation
                    .problems
                    .push(format!("{words}, seed {seed}: {with_it} drops with the proposed {proposed}"));
            }
            if less == 0 {
                expectation
                    .problems
                    .push(format!("{words}, seed {seed}: no drop with a quarter less than {proposed}"));
            }
        }
    }
    Ok(expectation)
}

/// Connects clients with small pauses that depend on the seed; returns the kernel's number of drops.
fn burst(port: u16, backlog: u32, seed: u64, pace: Option<Duration>, until: Until) -> Result<u64> {
    let before = counters::of_this_thread()?.get(Counter::ListenDrops);
    let listener = Listener::ipv4(port, i32::try_from(backlog)?)?;
    let (mut clients, mut accepted) = (Vec::new(), Vec::new());
    let start = Instant::now();
    let mut random = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next_accept = start;
    let mut accept = || -> Result<()> {
        if let Some(pace) = pace
            && Instant::now() >= next_accept
        {
            accepted.extend(listener.try_accept()?);
            next_accept += pace;
        }
        Ok(())
    };
    for _ in 0..CLIENTS {
        clients.push(connect_nonblocking(listener.loopback())?);
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        thread::sleep(Duration::from_micros(random % 200));
        accept()?;
    }
    let drops = || Ok::<_, anyhow::Error>(counters::of_this_thread()?.get(Counter::ListenDrops) - before);
    let is_decided = || -> Result<bool> {
        Ok(match until {
            Until::TriedAgain => false,
            Until::Decided => drops()? > 0 || clients.iter().all(|client| client.peer_addr().is_ok()),
        })
    };
    while start.elapsed() < WATCHED && !is_decided()? {
        thread::sleep(Duration::from_millis(5));
        accept()?;
    }
    drops()
}

/// Polls until netqueue reports which backlog would have been enough.
fn counterfactual(said: impl Fn() -> Result<Vec<Verdict>>) -> Result<Counterfactual> {
    let start = Instant::now();
    loop {
        if let Some(answer) = said()?.into_iter().find_map(|verdict| verdict.counterfactual) {
            return Ok(answer);
        }
        if start.elapsed() > SAID_WITHIN {
            bail!("netqueue does not say what backlog would have been enough");
        }
        thread::sleep(Duration::from_millis(100));
    }
}
