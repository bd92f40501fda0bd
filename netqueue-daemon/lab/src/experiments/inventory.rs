//! netqueue's data about a listener without drops: its owners and its limit.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::Result;

use crate::client::Server;
use crate::expectation::{Expectation, Experiment, Fixture, Scenario};
use crate::sockets::Listener;
use crate::worker::{Acceptor, spawn_acceptor};
use crate::{metrics, observation, sysctl};
use netqueue_api::Socket;

pub(super) const OWNERS: Experiment = Experiment {
    number: "60",
    name: "owners",
    incident: "a listener that never drops: it is opened, passed on to a second process, which then ends; then it is closed",
    verdict: "the listener is shown soon after it opened, with the process that opened it, then with both, then with the first alone; \
              closed, it keeps its name",
    provoke: Scenario::Watching(owners),
};

pub(super) const LIMITS: Experiment = Experiment {
    number: "61",
    name: "limits",
    incident: "a listener asks for 16 while somaxconn is 4; somaxconn is raised to 4096; the listener asks again",
    verdict: "limited by somaxconn, of 16 that it asked for; then by what somaxconn was, though it is higher now; then, and not before, by its own argument",
    provoke: Scenario::Watching(limits),
};

const OWNED: u16 = 8030;
const LIMITED: u16 = 8031;
/// Number of inventory passes after which a page must show a new listener.
/// At the time it opens, two passes may have ended without being counted in a page, and one may be running.
/// The count is independent of the machine's speed.
const PROMISED: u64 = 4;
/// Time limit of a poll.
const PATIENCE: Duration = Duration::from_secs(20);

fn owners(fixture: &Fixture<'_>) -> Result<Expectation> {
    let mut expectation = Expectation::default();
    fixture.netns.run(sysctl::defaults)?;
    let listener = fixture.netns.run(|| Listener::ipv4(OWNED, 16))?;
    if let Some(server) = fixture.server {
        found_in_time(server, fixture.netns.inode(), &mut expectation)?;
    }
    let mut watch = Watch { fixture, port: OWNED, expectation: &mut expectation };
    let own = std::process::id();
    watch.until("it is found, with its owner", PATIENCE, |row, details| {
        details.pids() == [own] && !row.process.is_empty() && details.inode != 0
    })?;
    let how = Acceptor { pause_ms: 1000, seconds: 60 };
    let mut worker = spawn_acceptor(&listener, how)?;
    let both = [own, worker.id()];
    watch.until("both processes are its owners", PATIENCE, |_, details| {
        let mut pids = details.pids();
        pids.sort_unstable();
        let mut both = both;
        both.sort_unstable();
        pids == both && details.pids().first() == Some(&own)
    })?;
    worker.kill()?;
    worker.wait()?;
    watch.until("the one that ended is its owner no more", PATIENCE, |_, details| details.pids() == [own])?;
    drop(listener);
    watch.until("it is closed and keeps its name", PATIENCE, |row, details| {
        details.closed.is_some() && !row.process.is_empty() && details.pids() == [own]
    })?;
    Ok(expectation)
}

/// Checks that a new listener and then its owner appear within [`PROMISED`] inventory passes.
/// Each page reports its own number of passes, and pages that lack the listener are judged by it: a slow
/// machine makes fewer of both.
fn found_in_time(server: &Server, netns: u64, expectation: &mut Expectation) -> Result<()> {
    let (first, start) = (metrics::page(server)?, Instant::now());
    let looks = |page: &str, part| -> Result<u64> {
        Ok(metrics::inventory_passes_on(page, part)?
            .saturating_sub(metrics::inventory_passes_on(&first, part)?))
    };
    let mut page = first.clone();
    for (part, what) in [("all", "listeners"), ("owners", "owners")] {
        let shows = |page: &str| {
            metrics::process_on(page, netns, OWNED)
                .is_some_and(|process| part == "all" || !process.is_empty())
        };
        let mut in_vain = 0;
        while !shows(&page) && start.elapsed() < PATIENCE {
            in_vain = looks(&page, part)?;
            thread::sleep(Duration::from_millis(20));
            page = metrics::page(server)?;
        }
        expectation.measured.push(format!(
            "{} looks for {what} until it was shown, {in_vain} of them in vain",
            looks(&page, part)?
        ));
        if in_vain >= PROMISED || !shows(&page) {
            expectation
                .problems
                .push(format!("{in_vain} looks for {what} had not found it; {PROMISED} must"));
        }
    }
    Ok(())
}

fn limits(fixture: &Fixture<'_>) -> Result<Expectation> {
    let mut expectation = Expectation::default();
    fixture.netns.run(sysctl::defaults)?;
    // Let netqueue read the sysctl before, so that it has the value at the time the listener opens.
    fixture.netns.run(|| sysctl::ensure("core/somaxconn", 4))?;
    let listener = fixture.netns.run(|| Listener::ipv4(LIMITED, 16))?;
    let mut watch = Watch { fixture, port: LIMITED, expectation: &mut expectation };
    let is = |details: &Socket, backlog: u32, by: &str| {
        details.limit.backlog == Some(backlog) && details.limit.limited_by == by
    };
    watch.until("4, by somaxconn, of 16", PATIENCE, |_, details| {
        is(details, 4, "somaxconn") && details.limit.listen_argument == Some(16) && details.opened.is_some()
    })?;
    fixture.netns.run(|| sysctl::ensure("core/somaxconn", 4096))?;
    watch.until("still 4, by what somaxconn was", PATIENCE, |_, details| {
        is(details, 4, "earlier_somaxconn")
    })?;
    let listener = fixture.netns.run(move || {
        listener.listen_again(16)?;
        Ok(listener)
    })?;
    watch.until("16, by its argument", PATIENCE, |_, details| {
        is(details, 16, "listen_argument") && details.limit.listen_argument == Some(16)
    })?;
    expectation.open.push(Box::new(listener));
    Ok(expectation)
}

/// A listener of a namespace, polled until netqueue's answer is right.
pub(super) struct Watch<'a> {
    pub fixture: &'a Fixture<'a>,
    pub port: u16,
    pub expectation: &'a mut Expectation,
}

impl Watch<'_> {
    /// Polls until `right`, and reports the time it took, or the failure.
    pub(super) fn until(
        &mut self,
        what: &str,
        patience: Duration,
        right: impl Fn(&netqueue_api::Listener, &Socket) -> bool,
    ) -> Result<()> {
        let Some(server) = self.fixture.server else { return Ok(()) };
        let start = Instant::now();
        loop {
            let rows = observation::rows(server, self.fixture.netns.inode())?;
            let row = rows.iter().rev().find(|row| row.port == Some(self.port) && row.listener.is_some());
            let details = row.and_then(|row| Some((row, row.listener.as_ref()?)));
            let took = start.elapsed();
            if details.is_some_and(|(row, details)| right(row, details)) {
                self.expectation.measured.push(format!("{what}: after {} ms", took.as_millis()));
                return Ok(());
            }
            if took > patience {
                let said =
                    details.map_or_else(|| "nothing".to_owned(), |(_, details)| format!("{details:?}"));
                self.expectation
                    .problems
                    .push(format!("{what}: not after {} ms; netqueue says {said}", took.as_millis()));
                return Ok(());
            }
            thread::sleep(Duration::from_millis(20));
        }
    }
}
