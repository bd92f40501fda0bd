//! Tests alerts from end to end: a real kernel, the daemon, a real Prometheus, a real Alertmanager.
//!
//! An overflow must be delivered, and nothing else. The guest runs the story by itself: quiet, a burst,
//! quiet, the daemon restarted, quiet, the demonstration load. This side watches and judges.

mod delivery;
mod panels;
mod picture;
pub(super) mod services;
mod webhook;

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use guest_init::http;
use guest_init::job::Step;

use super::tally::Tally;
use crate::dashboards;
use crate::process::Running;
use crate::vm::{self, Boot, Forward, Limits, Machine, Payload, kernels};
use crate::workspace::Workspace;
use services::Services;
use webhook::Webhook;

/// Kernel of the guest.
const KERNEL: &str = "6.12";
/// Alert that the burst must fire.
const SPIKE: &str = "NetqueueListenDropsSpike";

/// Time in which Prometheus learns what is ordinary.
const QUIET: Duration = Duration::from_secs(15);
/// Time to delivery: the alert's own `for`, an evaluation, a delivery, and an emulator's slowness.
const TO_DELIVERY: Duration = Duration::from_secs(50);
/// Time long enough for anything a restart would set off.
const AFTER_RESTART: Duration = Duration::from_secs(45);
/// Gap between two scrapes, where a second is usual.
const GAP: Duration = Duration::from_secs(15);
/// Length of the demonstration, from which the panels compute rates.
const DEMONSTRATION: Duration = Duration::from_secs(30);
/// Recording of the burst and of the quiet before it, by the daemon.
const RECORDING: &str = "burst.nqr";
const RECORDED: Duration = Duration::from_secs(40);
/// Seconds that are drawn: the burst, the restart and the demonstration.
const PICTURED: u32 = 180;
/// Limit for the whole story.
const DEADLINE: Duration = Duration::from_secs(420);

/// Runs the story; each thing it must show is a check of its own.
pub(crate) fn check(workspace: &Workspace, payload: &Payload) -> Result<Tally> {
    let webhook = Webhook::listen()?;
    let daemon = SocketAddr::from((Ipv4Addr::LOCALHOST, services::free_port()?));
    let services = Services::start(workspace, daemon, webhook.address())?;
    let boot = Boot {
        kernel: kernels::ensure(workspace, kernels::row(KERNEL)?)?,
        machine: Machine {
            cpus: 2,
            possible_cpus: None,
            memory_mb: 1024,
            count_instructions: false,
            forward: Some(Forward { host: daemon.port(), guest: vm::PORT }),
            append: Vec::new(),
        },
        limits: Limits { init: vm::INIT_LIMIT, whole: DEADLINE },
        job: story(),
        verbose: false,
    };
    let mut tally = thread::scope(|scope| {
        let watcher = scope
            .spawn(|| watch(&services, &webhook, daemon, &payload.netqueue, &workspace.target("alerting")));
        let ended = boot.until_stopped(workspace, payload, || watcher.is_finished());
        let tally = watcher.join().map_err(|_panic| anyhow::anyhow!("the watcher panicked"))?;
        // A guest that ended by itself has a reason, which says more than what was then missing.
        if let Some(report) = ended? {
            bail!("the guest ended before the story did: {report}");
        }
        tally
    })?;
    drop(services);
    tally.add(delivery::check(workspace, &payload.netqueue, &workspace.target("alerting").join(RECORDING))?);
    Ok(tally)
}

fn story() -> Vec<Step> {
    let all = format!("0.0.0.0:{}", vm::PORT);
    let daemon = Step::Daemon {
        argv: vm::netqueue(["daemon", "--web.allow-unauthenticated", "--web.listen-address", &all]),
    };
    let ready = Step::Ready {
        address: SocketAddr::from((Ipv4Addr::LOCALHOST, vm::PORT)),
        path: "/-/ready".to_owned(),
        within: Duration::from_secs(60),
    };
    vec![
        crate::run::guest_network(),
        daemon.clone(),
        ready.clone(),
        Step::Wait { time: QUIET },
        Step::Run { argv: vm::netqueue(["lab", "run", "burst"]) },
        Step::Wait { time: TO_DELIVERY },
        Step::Stop { within: vm::STOP_LIMIT },
        Step::Wait { time: Duration::from_secs(8) },
        daemon,
        ready,
        Step::Wait { time: AFTER_RESTART },
        Step::Run { argv: vm::netqueue(["lab", "demo"]) },
    ]
}

fn watch(
    services: &Services,
    webhook: &Webhook,
    daemon: SocketAddr,
    netqueue: &Path,
    folder: &Path,
) -> Result<Tally> {
    let mut tally = Tally::default();
    let mut judge = |what: &str, passed: bool, detail: String| {
        println!("{}  {what}: {detail}", if passed { "ok    " } else { "FAILED" });
        tally.add(Tally::of(passed));
    };

    until("the daemon is there", DEADLINE, || Ok(ask_ready(daemon)))?;
    // Replayed at the end, to test what the daemon itself delivers.
    let _recording = Running::start(
        Command::new(netqueue)
            .args(["record", "--for", &RECORDED.as_secs().to_string(), "--server"])
            .arg(format!("http://{daemon}"))
            .arg(folder.join(RECORDING)),
    )?;
    until("a drop is counted", DEADLINE, || Ok(drops(daemon).filter(|drops| *drops > 0.0)))?;
    let seen = Instant::now();
    let delivered = until("the alert is delivered", TO_DELIVERY, || {
        Ok(webhook.firing().into_iter().any(|alert| alert.name == SPIKE).then_some(()))
    });
    let told = webhook.firing().into_iter().find(|alert| alert.name == SPIKE).map(|alert| alert.at - seen);
    judge(
        "spike to webhook",
        delivered.is_ok(),
        match told {
            Some(took) => format!("{:.1} s after the first drop", took.as_secs_f64()),
            None => "not delivered".to_owned(),
        },
    );

    let began = |answer: http::Answer| {
        let line = answer.body.lines().find(|line| line.starts_with("netqueue_attached_timestamp_seconds"));
        line.map(str::to_owned)
    };
    let ask = || http::get(daemon, "/metrics", Duration::from_secs(2)).ok().and_then(began);
    let first = ask().context("the daemon does not say since when it has been counting")?;
    until("the daemon is started again", DEADLINE, || Ok(ask().filter(|now| *now != first)))?;
    let before = webhook.firing();
    let names: Vec<_> = before.iter().map(|alert| alert.name.as_str()).collect();
    // In the incident nobody accepts: the connections that fit into the queue wait.
    let meant = |name: &&str| [SPIKE, "NetqueueConnectionsWaiting"].contains(name);
    judge("nothing else fired", names.iter().all(meant), format!("{names:?}"));

    services.pause_prometheus(GAP)?;
    thread::sleep(AFTER_RESTART - GAP - Duration::from_secs(5));
    let after: Vec<_> = webhook.firing().into_iter().skip(before.len()).collect();
    judge("a restart and a gap between scrapes fire nothing", after.is_empty(), format!("{after:?}"));

    until("the demonstration has begun", DEADLINE, || {
        services.value("sum(netqueue_resets_sent_total{cause=\"close_unread_data\"}) > 3")
    })?;
    thread::sleep(DEMONSTRATION);
    let empty = panels::without_data(services, &dashboards::all())?;
    let all: usize = dashboards::all().iter().map(|board| board.panels().len()).sum();
    judge("panels with data", empty.is_empty(), format!("{} of {all}; none in {empty:?}", all - empty.len()));
    let picture = folder.join("panels.svg");
    fs::write(&picture, picture::draw(services, &dashboards::all(), PICTURED)?)?;
    println!("        what they show is drawn in {}", picture.display());
    Ok(tally)
}

fn ask_ready(daemon: SocketAddr) -> Option<()> {
    let answer = http::get(daemon, "/-/ready", Duration::from_secs(2)).ok()?;
    (answer.status == 200).then_some(())
}

/// Reads the number of drops that the daemon has counted so far, over all listeners.
fn drops(daemon: SocketAddr) -> Option<f64> {
    let answer = http::get(daemon, "/metrics", Duration::from_secs(2)).ok()?;
    let lines = answer.body.lines().filter(|line| line.starts_with("netqueue_listen_drops_total{"));
    Some(lines.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum())
}

/// Polls five times a second until there is a result.
fn until<T>(what: &str, limit: Duration, mut look: impl FnMut() -> Result<Option<T>>) -> Result<T> {
    let start = Instant::now();
    loop {
        if let Some(found) = look()? {
            return Ok(found);
        }
        if start.elapsed() > limit {
            bail!("{what}: not within {} s", limit.as_secs());
        }
        thread::sleep(Duration::from_millis(200));
    }
}
