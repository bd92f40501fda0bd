//! Daemons that start during drops, cookies and resets, as at every deployment on a busy host.

use std::net::{Ipv4Addr, SocketAddr};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Result;
use serde_json::Value;

use super::load::{Processes, clients_in_batches};
use crate::client::Server;
use crate::counters::Counter;
use crate::expectation::{Amount, Expectation, Experiment, Fixture, Scenario};
use crate::observation;
use crate::own_daemon::OwnDaemon;
use crate::raw::FakePeers;
use crate::sockets::{Family, Listener, connect, localhost};
use crate::sysctl;
use crate::verdict::Skip;
use crate::worker::{Acceptor, Clients, spawn_acceptor, spawn_clients};

pub(super) const STARTS: Experiment = Experiment {
    number: "83",
    name: "starts-under-load",
    incident: "daemons, as many as --starts says, start one after the other while listeners overflow, cookies are sent and a closed \
               port sends resets",
    verdict: "none of them has lost anything, none says that netqueue is blind, and what each is compared with leaves no residual",
    provoke: Scenario::Watching(starts),
};

/// Time for some reconciliations after a start.
const AFTERWARDS: Duration = Duration::from_secs(3);
/// Maximum duration of a start and the time after it, in seconds.
const EACH: u64 = 120;
const CLOSED: u16 = 8463;

fn starts(fixture: &Fixture<'_>) -> Result<Expectation> {
    let starts = fixture.settings.starts;
    if starts == 0 {
        return Err(Skip::because(
            "--starts says how many daemons start: code is patched under load then, which an emulator of several CPUs may not survive",
        ));
    }
    let mut problems = Vec::new();
    let load = fixture.netns.run(move || Load::begin(EACH * u64::from(starts)))?;
    for number in 1..=starts {
        let begun = Instant::now();
        let own = OwnDaemon::start(&[])?;
        eprintln!("start {number} of {starts}: ready after {:.0} s", begun.elapsed().as_secs_f64());
        thread::sleep(AFTERWARDS);
        problems.extend(
            wrong(own.server(), fixture.netns.inode())?
                .into_iter()
                .map(|problem| format!("start {number} of {starts}: {problem}")),
        );
    }
    drop(load);
    Ok(Expectation {
        kernel: vec![(Counter::ListenDrops, Amount::AtLeast(1)), (Counter::OutRsts, Amount::AtLeast(1))],
        problems,
        measured: vec![format!("{starts} starts")],
        ..Expectation::default()
    })
}

/// Checks a daemon's status and diagnosis for losses, residuals and blindness.
fn wrong(server: &Server, netns: u64) -> Result<Vec<String>> {
    let status: Value = observation::status(server)?;
    let lost = status["events"]["lost"].as_object().into_iter().flatten();
    let lost = lost.filter(|(_, number)| number.as_u64() != Some(0));
    let mut problems: Vec<_> = lost.map(|(reason, number)| format!("{number} lost: {reason}")).collect();
    for balance in status["reconciliation"].as_array().into_iter().flatten() {
        if balance["netns_inode"].as_u64() == Some(netns) && balance["exact"].as_bool() != Some(true) {
            problems.push(format!("a residual: {}", balance["counters"]));
        }
    }
    let diagnosis: Value = server.ask::<Value>("/api/v1/diagnosis")?.data;
    if diagnosis.to_string().contains("netqueue_blind") {
        problems.push("the verdict netqueue_blind".to_owned());
    }
    Ok(problems)
}

/// Traffic that ends when the value is dropped.
struct Load {
    _processes: Processes,
    _open: Vec<Box<dyn Send>>,
}

impl Load {
    fn begin(seconds: u64) -> Result<Self> {
        sysctl::defaults()?;
        let overflowing = Listener::ipv4(8063, 8)?;
        let flooded = Listener::ipv4(8163, 16)?;
        let mut processes = Processes::default();
        processes.0.push(spawn_acceptor(&overflowing, Acceptor { pause_ms: 4, seconds })?);
        // Pause long enough for the daemon to start even on an emulated CPU.
        let clients = Clients { pause_us: 200_000, ..clients_in_batches(seconds) };
        processes.0.push(spawn_clients(&[overflowing.loopback()], clients)?);
        let fake = FakePeers::of(Family::V4)?;
        let (stop, stopped) = std::sync::mpsc::channel::<()>();
        let flooded_at = flooded.loopback();
        // The thread runs in this thread's namespace, and ends when the sender is dropped.
        let feeder = thread::Builder::new().name("lab-load".into()).spawn(move || {
            while stopped.try_recv() == Err(std::sync::mpsc::TryRecvError::Empty) {
                feed(&fake, flooded_at);
            }
        })?;
        Ok(Self { _processes: processes, _open: vec![Box::new((stop, overflowing, flooded, feeder))] })
    }
}

/// Sends some SYNs of a flood, and connects to a closed port.
fn feed(fake: &FakePeers, flooded: SocketAddr) {
    // Either may fail on a busy machine: the next ones follow.
    let _sent = fake.send_syns(5, flooded);
    let _refused = connect(localhost(Ipv4Addr::LOCALHOST, CLOSED));
    thread::sleep(Duration::from_millis(100));
}
