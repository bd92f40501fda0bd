//! A server that restarts under load: each listener is a new socket, at the same address and port.

use netqueue_api::AccountKind;
use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow};

use super::load::{Processes, clients_in_batches, wait_until_quiet};
use crate::client::Server;
use crate::counters::Counter;
use crate::expectation::{Amount, Expectation, Experiment, Fixture, Scenario, cause};
use crate::sockets::{Listener, localhost};
use crate::worker::spawn_clients;
use crate::{metrics, observation, sysctl};

pub(super) const REOPEN: Experiment = Experiment {
    number: "21",
    name: "reopen",
    incident: "a listener is closed and opened again on its port every 70 ms for 2 s, while two processes overflow it",
    verdict: "accept queue full, and resets while nobody listened: nothing is lost between one listener and the next, and no count \
              ever goes backwards",
    provoke: Scenario::Watching(reopen),
};

const PORT: u16 = 8021;
const SECONDS: u64 = 2;
const OPEN: Duration = Duration::from_millis(50);
const CLOSED: Duration = Duration::from_millis(20);

fn reopen(fixture: &Fixture<'_>) -> Result<Expectation> {
    let stop = AtomicBool::new(false);
    let known = match fixture.server {
        Some(server) => observation::rows(server, fixture.netns.inode())?,
        None => Vec::new(),
    };
    let known: HashSet<String> = known.into_iter().map(|row| row.id).collect();
    let watch = |server: &Server| watch(server, fixture.netns.inode(), known, &stop);
    let (restarted, watched) = thread::scope(|scope| {
        let watcher = fixture.server.map(|server| scope.spawn(move || watch(server)));
        let restarted = fixture.netns.run(restart_under_load);
        stop.store(true, Ordering::Relaxed);
        (restarted, watcher.map(|watcher| watcher.join()))
    });
    let (listener, opened) = restarted?;
    let mut expectation = Expectation {
        kernel: vec![
            (Counter::ListenDrops, Amount::AtLeast(opened)),
            (Counter::OutRsts, Amount::AtLeast(opened)),
        ],
        resets: vec![(cause::NO_LISTENER, Amount::AtLeast(1))],
        open: vec![Box::new(listener)],
        ..Expectation::default()
    };
    if let Some(watched) = watched {
        let seen = watched.map_err(|_| anyhow!("the thread that watches netqueue panicked"))??;
        expectation
            .measured
            .push(format!("opened {opened} times; netqueue was asked {} times meanwhile", seen.asked));
        expectation.problems = seen.problems;
    }
    Ok(expectation)
}

/// Opens and closes the listener while clients come and go; the last listener stays open.
fn restart_under_load() -> Result<(Listener, u64)> {
    sysctl::defaults()?;
    let target = [localhost(std::net::Ipv4Addr::LOCALHOST, PORT)];
    let how = clients_in_batches(SECONDS);
    let mut clients = Processes::default();
    for _ in 0..2 {
        clients.0.push(spawn_clients(&target, how.clone())?);
    }
    let start = Instant::now();
    let mut opened = 1;
    let mut listener = Listener::ipv4(PORT, 4)?;
    while start.elapsed() < Duration::from_secs(SECONDS) {
        thread::sleep(OPEN);
        drop(listener);
        thread::sleep(CLOSED);
        listener = Listener::ipv4(PORT, 4)?;
        opened += 1;
    }
    clients.wait()?;
    wait_until_quiet()?;
    Ok((listener, opened))
}

/// Observed counters that may only grow.
#[derive(Default)]
struct Watched {
    asked: u32,
    /// Rows of an earlier namespace with this inode number.
    known: HashSet<String>,
    rows: HashMap<String, netqueue_api::Listener>,
    metric: Option<u64>,
    problems: Vec<String>,
}

fn watch(server: &Server, netns: u64, known: HashSet<String>, stop: &AtomicBool) -> Result<Watched> {
    let mut watched = Watched { known, ..Watched::default() };
    loop {
        // Read the flag before the poll, so that the last poll sees the final state.
        let last = stop.load(Ordering::Relaxed);
        watched.rows(observation::rows(server, netns)?);
        watched.metric(metrics::drops(server, netns, PORT)?);
        watched.asked += 1;
        if last {
            watched.strangers();
            return Ok(watched);
        }
        thread::sleep(Duration::from_millis(20));
    }
}

impl Watched {
    fn rows(&mut self, rows: Vec<netqueue_api::Listener>) {
        // Old closed rows and ended namespaces are folded: earlier rows may vanish, also into a row that
        // appears meanwhile and ends with its namespace. Listeners closed here are retained for longer than
        // this test takes.
        let ours =
            rows.into_iter().filter(|row| row.kind != AccountKind::Gone && !self.known.contains(&row.id));
        let now: HashMap<String, netqueue_api::Listener> = ours.map(|row| (row.id.clone(), row)).collect();
        for (id, before) in &self.rows {
            let Some(after) = now.get(id) else {
                // A listener that closed before anything was counted has no counts to retain.
                if !before.counted_anything() {
                    continue;
                }
                self.problems.push(format!("{before}: the row is gone, with what it had counted"));
                continue;
            };
            for counter in Counter::ALL {
                let (before, after) = (before.counter(counter.as_str()), after.counter(counter.as_str()));
                if after < before {
                    let name = counter.as_str();
                    self.problems.push(format!("row {id}: {name} went back from {before} to {after}"));
                }
            }
        }
        self.rows = now;
    }

    /// Reports listeners that the experiment did not open.
    fn strangers(&mut self) {
        let strangers =
            self.rows.values().filter(|row| row.kind == AccountKind::Listener && row.port != Some(PORT));
        self.problems.extend(
            strangers.map(|row| {
                format!("{row}: nobody listens there; drops: {}; resets: {}", row.drops, row.resets)
            }),
        );
    }

    fn metric(&mut self, now: Option<u64>) {
        if now < self.metric {
            let words = |value: Option<u64>| value.map_or("nothing".to_owned(), |value| value.to_string());
            let (before, after) = (words(self.metric), words(now));
            self.problems.push(format!(
                "netqueue_listen_drops_total of port {PORT} went back from {before} to {after}"
            ));
        }
        self.metric = now;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples::row;

    #[test]
    fn a_row_or_series_that_shrinks_or_vanishes_is_a_problem() {
        let mut watched = Watched::default();
        watched.rows(vec![row("1", PORT, 5)]);
        watched.rows(vec![row("1", PORT, 5), row("2", PORT, 1)]);
        watched.metric(Some(5));
        watched.metric(Some(6));
        watched.strangers();
        assert_eq!(watched.problems, Vec::<String>::new());
        watched.rows(vec![row("2", PORT, 0)]);
        watched.metric(None);
        assert_eq!(watched.problems.len(), 1 + 2 + 1, "{:?}", watched.problems);
    }

    #[test]
    fn a_listener_nobody_opened_is_a_problem() {
        let mut watched = Watched { known: HashSet::from(["3".to_owned()]), ..Watched::default() };
        watched.rows(vec![row("1", PORT, 5), row("2", PORT + 1, 5), row("3", PORT + 2, 5)]);
        watched.rows(vec![row("1", PORT, 5), row("2", PORT + 1, 5)]);
        watched.strangers();
        assert_eq!(watched.problems.len(), 1, "one of before may vanish: {:?}", watched.problems);
    }
}
