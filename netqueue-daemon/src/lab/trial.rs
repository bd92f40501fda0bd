//! One experiment tried: provoked in a network namespace of its own, compared while the kernel's counters stand still.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use super::check;
use super::client::Server;
use super::counters::{self, Counters};
use super::netns::Netns;
use super::observation::{self, Observation};
use super::scene::{Bench, Provoke, Scene, Settings};

/// How long to wait for a moment in which the kernel counts nothing.
const STABLE_WITHIN: Duration = Duration::from_secs(30);
/// How long netqueue may take to agree: events travel, counters do not.
const AGREE_WITHIN: Duration = Duration::from_secs(3);

/// What both sides said of one namespace.
#[derive(Default)]
pub(super) struct Comparison {
    /// The inode of the namespace.
    pub netns: u64,
    pub kernel: Counters,
    /// `None` if netqueue was not asked.
    pub netqueue: Option<Observation>,
    /// What was measured on the way.
    pub measured: Vec<String>,
    pub problems: Vec<String>,
}

/// Provokes and compares, in a namespace of its own, which is gone afterwards.
pub(super) fn run(provoke: &Provoke, settings: Settings, server: Option<&Server>) -> Result<Comparison> {
    let netns = Netns::create()?;
    let baseline = netns.counters()?;
    let known = match server {
        Some(server) => Observation::of(server, netns.inode())?,
        None => Observation::default(),
    };
    let scene = match *provoke {
        Provoke::Inside(provoke) => netns.run(move || provoke(&settings))?,
        Provoke::Watching(provoke) => provoke(&Bench { server, netns: &netns })?,
    };
    let kernel = || Ok::<Counters, anyhow::Error>(counters::since(&netns.counters()?, &baseline));
    let Some(server) = server else {
        let kernel = kernel()?;
        let mut problems = check::incident(&scene, &kernel);
        problems.extend(scene.problems);
        return Ok(Comparison {
            netns: netns.inode(),
            kernel,
            netqueue: None,
            measured: scene.measured,
            problems,
        });
    };
    let netqueue = || Ok(Observation::of(server, netns.inode())?.since(&known));
    let mut comparison = compare(&scene, kernel, netqueue)?;
    if !comparison.problems.is_empty() {
        comparison.problems.push(format!("netqueue's status: {}", observation::losses(server)?));
    }
    comparison.netns = netns.inode();
    comparison.measured = scene.measured;
    Ok(comparison)
}

/// Asks both sides until they agree at a moment when the kernel counted nothing, or too much time has passed.
fn compare(
    scene: &Scene,
    kernel: impl Fn() -> Result<Counters>,
    netqueue: impl Fn() -> Result<Observation>,
) -> Result<Comparison> {
    let start = Instant::now();
    let mut disagree_since = None;
    let mut last = None;
    while start.elapsed() < STABLE_WITHIN {
        let before = kernel()?;
        let seen = netqueue().context("the daemon stopped answering")?;
        if kernel()? != before {
            thread::sleep(Duration::from_millis(20));
            continue;
        }
        let mut problems = scene.problems.clone();
        problems.extend(check::incident(scene, &before));
        problems.extend(check::netqueue(scene, &before, &seen));
        problems.extend(check::reconciliation(&before, seen.reconciliation.as_ref()));
        let agree = problems.is_empty();
        last = Some(Comparison { kernel: before, netqueue: Some(seen), problems, ..Comparison::default() });
        if agree || disagree_since.get_or_insert_with(Instant::now).elapsed() > AGREE_WITHIN {
            break;
        }
        thread::sleep(Duration::from_millis(100));
    }
    match last {
        Some(comparison) => Ok(comparison),
        None => bail!(
            "the kernel's counters never stood still for {} s, so nothing could be compared",
            STABLE_WITHIN.as_secs()
        ),
    }
}
