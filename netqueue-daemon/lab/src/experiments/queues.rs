//! Queue lengths: between two polls, under concurrency, and with handshakes that never complete.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use crate::counters::{self, Counter};
use crate::expectation::{Amount, Expectation, Experiment, Fixture, Scenario};
use crate::packet::Segment;
use crate::raw::{FakePeers, peer};
use crate::sockets::{Listener, PATIENCE, connect};
use crate::watch::Watch;
use crate::{metrics, sysctl};

pub(super) const SPIKE: Experiment = Experiment {
    number: "55",
    name: "spike-between-scrapes",
    incident: "between two scrapes a second apart, 30 connections enter the accept queue and leave it within 200 ms",
    verdict: "the queue is empty at both scrapes and was 30 long in between: its peak says so, once, and the last minute's goes on \
              saying so",
    provoke: Scenario::Watching(spike),
};

pub(super) const CROWD: Experiment = Experiment {
    number: "56",
    name: "established-exactly",
    incident: "4 threads connect and 2 accept as fast as they can, for 3 s; then 200 more clients connect and nobody accepts",
    verdict: "every connection is counted once: as many as the kernel opened, the server accepted, and the queue still holds; its \
              length at each entry was never off by more than other CPUs can be ahead",
    provoke: Scenario::Watching(crowd),
};

pub(super) const HALF_OPEN: Experiment = Experiment {
    number: "57",
    name: "half-open",
    incident: "20 peers send a SYN and never answer; the listener sends its SYN-ACKs again",
    verdict: "20 handshakes are in the SYN queue, which no socket table shows by listener, and each SYN-ACK sent again is counted",
    provoke: Scenario::Watching(half_open),
};

fn spike(fixture: &Fixture<'_>) -> Result<Expectation> {
    const CLIENTS: u64 = 30;
    const AT_ONCE: Duration = Duration::from_millis(200);
    const TRIES: usize = 5;
    // Use any free port: an earlier run's port has its own peaks, in a namespace with the same number.
    let listener = fixture.netns.run(|| {
        sysctl::defaults()?;
        Listener::ipv4(0, 128)
    })?;
    let port = listener.address().port();
    let come_and_go = |listener: Listener, clients: u64| {
        fixture.netns.run(move || {
            let start = Instant::now();
            let mut open = Vec::new();
            for _ in 0..clients {
                open.push(connect(listener.loopback())?);
            }
            open.extend(listener.accept_all()?);
            Ok((listener, start.elapsed()))
        })
    };
    let mut expectation =
        Expectation { kernel: vec![(Counter::ListenDrops, Amount::Exactly(0))], ..Expectation::default() };
    let (mut listener, _) = come_and_go(listener, 1)?;
    let look = |family: &str| match fixture.server {
        Some(server) => metrics::gauge(server, family, fixture.netns.inode(), port),
        None => Ok(None),
    };
    // A machine that is too slow for a fresh page gets an old one.
    let patience = Instant::now() + PATIENCE;
    while fixture.server.is_some() && look(PEAK)?.is_none() && Instant::now() < patience {}
    // A busy machine may need some tries for a spike that is short enough.
    let mut took = Duration::MAX;
    for _ in 0..TRIES {
        // This scrape ends the peak of the try before.
        look(PEAK)?;
        let first = Instant::now();
        thread::sleep(Duration::from_millis(400));
        (listener, took) = come_and_go(listener, CLIENTS)?;
        thread::sleep(Duration::from_secs(1).saturating_sub(first.elapsed()));
        if took <= AT_ONCE {
            break;
        }
    }
    expectation.measured.push(format!("the queue was full and empty again after {} ms", took.as_millis()));
    if took > AT_ONCE {
        expectation
            .problems
            .push(format!("the incident did not happen: each spike took longer than {AT_ONCE:?}"));
    }
    if let Some(server) = fixture.server {
        let mut expect = |when: &str, page: &str, family: &str, wanted: u64| {
            let said = metrics::gauge_on(page, family, fixture.netns.inode(), port);
            if said != Some(wanted) {
                expectation.problems.push(format!("{when}: {family} is {said:?}, expected {wanted}"));
            }
        };
        let shown = |page: &String| {
            metrics::gauge_on(page, WINDOW_PEAK, fixture.netns.inode(), port) == Some(CLIENTS)
        };
        let mut second = metrics::page(server)?;
        let patience = Instant::now() + PATIENCE;
        while !shown(&second) && Instant::now() < patience {
            second = metrics::page(server)?;
        }
        expect("at the second scrape", &second, PEAK, CLIENTS);
        expect("at the second scrape", &second, "netqueue_accept_queue_length", 0);
        let third = metrics::page(server)?;
        expect("at the third scrape", &third, PEAK, 0);
        expect("at the third scrape", &third, WINDOW_PEAK, CLIENTS);
    }
    expectation.open.push(Box::new(listener));
    Ok(expectation)
}

const PEAK: &str = "netqueue_accept_queue_peak";
const WINDOW_PEAK: &str = "netqueue_accept_queue_window_peak";

fn crowd(fixture: &Fixture<'_>) -> Result<Expectation> {
    const QUEUED: u64 = 200;
    let listener = fixture.netns.run(|| {
        sysctl::defaults()?;
        Listener::ipv4(8136, 4096)
    })?;
    let watch = Watch::begin(fixture, listener.address())?;
    let (listener, accepted, opened) = fixture.netns.run(move || {
        let before = counters::tcp("PassiveOpens")?;
        let accepted = come_and_go(&listener, Duration::from_secs(3))?;
        let opened = counters::tcp("PassiveOpens")? - before;
        Ok((listener, accepted, opened))
    })?;
    let mut expectation =
        Expectation { kernel: vec![(Counter::ListenDrops, Amount::Exactly(0))], ..Expectation::default() };
    let passed = |row: &netqueue_api::Listener| {
        Some((row.traffic.as_ref()?.established, row.traffic.as_ref()?.accepted?))
    };
    expectation.problems.extend(watch.expect("when the crowd is gone", passed, Some((opened, accepted)))?);
    expectation
        .measured
        .push(format!("the kernel opened {opened} connections, the server accepted {accepted}"));
    if opened != accepted {
        expectation
            .problems
            .push("the server did not accept every connection: the comparison says nothing".to_owned());
    }
    let known = watch.traffic()?.and_then(|traffic| traffic.accept_queue_depth);

    let (listener, clients) = fixture.netns.run(move || {
        let clients = together(&listener, QUEUED)?;
        listener.wait_for_queue(QUEUED as u32)?;
        Ok((listener, clients))
    })?;
    expectation.problems.extend(watch.expect(
        "when 200 wait",
        |row| row.traffic.as_ref().map(|traffic| traffic.established),
        Some(opened + QUEUED),
    )?);
    expectation.problems.extend(watch.expect(
        "when 200 wait",
        |row| row.accept_queue.map(|queue| u64::from(queue.length)),
        Some(QUEUED),
    )?);
    if let (Some(known), Some(depth)) =
        (known, watch.traffic()?.and_then(|traffic| traffic.accept_queue_depth))
    {
        let sum = |depth: &netqueue_api::Distribution| depth.mean.unwrap_or(0.0) * depth.count as f64;
        let mean = (sum(&depth) - sum(&known)) / QUEUED as f64;
        let exact = (QUEUED + 1) as f64 / 2.0;
        let others = thread::available_parallelism()?.get() as f64 - 1.0;
        expectation
            .measured
            .push(format!("the mean length at entry: {mean:.3}, exactly {exact} had they come one by one"));
        if mean > exact + 0.001 || mean < exact - others {
            expectation
                .problems
                .push(format!("the mean length at entry is {mean}, expected {} to {exact}", exact - others));
        }
    }
    expectation.open.push(Box::new((listener, clients)));
    Ok(expectation)
}

/// Runs clients that connect and close for a while; returns how many the server accepted.
fn come_and_go(listener: &Listener, spell: Duration) -> Result<u64> {
    let (done, accepted) = (AtomicBool::new(false), AtomicU64::new(0));
    let target = listener.loopback();
    thread::scope(|scope| {
        let acceptors: Vec<_> = (0..2)
            .map(|_| {
                scope.spawn(|| {
                    while !done.load(Ordering::Acquire) {
                        while listener.try_accept()?.is_some() {
                            accepted.fetch_add(1, Ordering::Relaxed);
                        }
                        thread::yield_now();
                    }
                    Ok::<_, anyhow::Error>(())
                })
            })
            .collect();
        let end = Instant::now() + spell;
        let clients: Vec<_> = (0..4)
            .map(|_| {
                scope.spawn(move || {
                    while Instant::now() < end {
                        let client = connect(target)?;
                        // Closing resets the connection, so that no port waits in TIME_WAIT.
                        client.set_linger(Some(Duration::ZERO))?;
                    }
                    Ok::<_, anyhow::Error>(())
                })
            })
            .collect();
        for client in clients {
            client.join().ok().context("a client panicked")??;
        }
        let deadline = Instant::now() + Duration::from_secs(5);
        while listener.queue_length()? > 0 && Instant::now() < deadline {
            thread::sleep(Duration::from_millis(5));
        }
        done.store(true, Ordering::Release);
        for acceptor in acceptors {
            acceptor.join().ok().context("an acceptor panicked")??;
        }
        Ok(accepted.load(Ordering::Relaxed))
    })
}

/// Connects clients from several threads at once, and keeps them.
fn together(listener: &Listener, clients: u64) -> Result<Vec<socket2::Socket>> {
    let target = listener.loopback();
    thread::scope(|scope| {
        let threads: Vec<_> = (0..4)
            .map(|_| {
                scope.spawn(move || (0..clients / 4).map(|_| connect(target)).collect::<Result<Vec<_>>>())
            })
            .collect();
        let mut all = Vec::new();
        for thread in threads {
            all.extend(thread.join().ok().context("a client panicked")??);
        }
        Ok(all)
    })
}

fn half_open(fixture: &Fixture<'_>) -> Result<Expectation> {
    const PEERS: u16 = 20;
    let listener = fixture.netns.run(|| {
        sysctl::defaults()?;
        Listener::ipv4(8137, 64)
    })?;
    let watch = Watch::begin(fixture, listener.address())?;
    let (listener, fake) = fixture.netns.run(move || {
        let fake = FakePeers::create()?;
        for n in 0..PEERS {
            fake.send(peer(n), listener.loopback(), Segment::Syn)?;
        }
        Ok((listener, fake))
    })?;
    let mut expectation =
        Expectation { kernel: vec![(Counter::ListenDrops, Amount::Exactly(0))], ..Expectation::default() };
    let queue = |row: &netqueue_api::Listener| row.syn_queue.map(|queue| (queue.length, queue.limit));
    expectation.problems.extend(watch.expect("after the SYNs", queue, Some((u32::from(PEERS), 64)))?);
    // The first SYN-ACKs are retransmitted after one second, and again two seconds later.
    let again = fixture.netns.run(|| {
        thread::sleep(Duration::from_millis(2000));
        counters::tcp_ext("TCPSynRetrans")
    })?;
    if again < u64::from(PEERS) {
        expectation.problems.push(format!("the incident did not happen: {again} SYN-ACKs were sent again"));
    }
    expectation.measured.push(format!("the kernel sent {again} SYN-ACKs again"));
    expectation.problems.extend(watch.expect(
        "SYN-ACKs",
        |row| row.traffic.as_ref().map(|traffic| traffic.synack_retransmits),
        Some(again),
    )?);
    expectation.open.push(Box::new((listener, fake)));
    Ok(expectation)
}
