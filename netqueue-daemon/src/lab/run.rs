//! `netqueue lab run`: each chosen experiment in a namespace of its own, compared while the kernel's counters stand still.

use std::process::ExitCode;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use clap::Args;

use super::client::Server;
use super::counters::{self, Counters};
use super::netns::Netns;
use super::observation::{self, Observation};
use super::report::{self, ExperimentReport, Report};
use super::scene::{Experiment, Scene, Settings};
use super::verdict::{Outcome, Skip};
use super::{check, experiments, sockets};

/// How long to wait for a moment in which the kernel counts nothing.
const STABLE_WITHIN: Duration = Duration::from_secs(30);
/// How long netqueue may take to agree: events travel, counters do not.
const AGREE_WITHIN: Duration = Duration::from_secs(3);

/// The arguments of `netqueue lab run`.
#[derive(Debug, Args)]
pub(super) struct RunArgs {
    /// Names or numbers of experiments, as `netqueue lab list` shows them
    #[arg(required_unless_present = "all", conflicts_with = "all", value_name = "NAME_OR_NUMBER")]
    experiments: Vec<String>,
    /// Runs every experiment
    #[arg(long)]
    all: bool,
    /// Prints one JSON document
    #[arg(long)]
    json: bool,
    /// Where the netqueue daemon listens
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:10124")]
    server: String,
    /// How many drops the concurrency experiment must provoke
    #[arg(long, value_name = "N", default_value_t = 1000)]
    min_drops: u64,
    /// Only provokes, and prints what the kernel counted; compares nothing
    #[arg(long, hide = true)]
    no_daemon: bool,
}

/// Runs the chosen experiments; exit code 0 only if none failed.
pub(super) fn run(args: &RunArgs) -> Result<ExitCode> {
    let chosen = choose(args)?;
    let server = Server::parse(&args.server)?;
    let server = (!args.no_daemon).then_some(&server);
    let settings = Settings { min_drops: args.min_drops };
    sockets::raise_descriptor_limit()?;
    // Both are the caller's mistakes rather than an experiment's failure: said once, before anything runs.
    Netns::create()?;
    if let Some(server) = server {
        observation::greet(server)?;
    }

    let mut reports = Vec::new();
    for experiment in chosen {
        let report = run_one(experiment, settings, server);
        if !args.json {
            report::print(&report)?;
        }
        reports.push(report);
    }
    report::finish(Report::new(reports, server.is_some()), args.json)
}

fn choose(args: &RunArgs) -> Result<Vec<&'static Experiment>> {
    if args.all {
        return Ok(experiments::ALL.iter().collect());
    }
    let find = |wanted: &String| {
        let named = |experiment: &&Experiment| experiment.name == wanted || experiment.number == wanted;
        match experiments::ALL.iter().find(named) {
            Some(experiment) => Ok(experiment),
            None => {
                bail!("no experiment is called {wanted}; `netqueue lab list` shows their names and numbers")
            }
        }
    };
    args.experiments.iter().map(find).collect()
}

fn run_one(experiment: &'static Experiment, settings: Settings, server: Option<&Server>) -> ExperimentReport {
    let start = Instant::now();
    let mut report = ExperimentReport::of(experiment);
    match provoke_and_compare(experiment, settings, server, &mut report) {
        Ok(()) if !report.problems.is_empty() => report.outcome = Outcome::Failed,
        Ok(()) if server.is_none() => report.outcome = Outcome::Provoked,
        Ok(()) => report.outcome = Outcome::Passed,
        Err(error) => {
            report.outcome = if error.is::<Skip>() { Outcome::Skipped } else { Outcome::Failed };
            report.problems.push(format!("{error:#}"));
        }
    }
    report.seconds = start.elapsed().as_secs_f64();
    report
}

fn provoke_and_compare(
    experiment: &'static Experiment,
    settings: Settings,
    server: Option<&Server>,
    report: &mut ExperimentReport,
) -> Result<()> {
    let netns = Netns::create()?;
    report.netns = netns.inode();
    let baseline = netns.counters()?;
    let known = match server {
        Some(server) => Observation::of(server, netns.inode())?,
        None => Observation::default(),
    };
    let provoke = experiment.provoke;
    let scene = netns.run(move || provoke(&settings))?;
    let kernel = || Ok::<Counters, anyhow::Error>(counters::since(&netns.counters()?, &baseline));
    let Some(server) = server else {
        let counted = kernel()?;
        report.kernel = counted;
        report.problems = check::incident(&scene, &counted);
        return Ok(());
    };
    compare(&scene, kernel, || Ok(Observation::of(server, netns.inode())?.since(&known)), report)?;
    if !report.problems.is_empty() {
        report.problems.push(format!("netqueue's status: {}", observation::losses(server)?));
    }
    Ok(())
}

/// Asks both sides until they agree at a moment when the kernel counted nothing, or too much time has passed.
fn compare(
    scene: &Scene,
    kernel: impl Fn() -> Result<Counters>,
    netqueue: impl Fn() -> Result<Observation>,
    report: &mut ExperimentReport,
) -> Result<()> {
    let start = Instant::now();
    let mut disagree_since = None;
    while start.elapsed() < STABLE_WITHIN {
        let before = kernel()?;
        let seen = netqueue().context("the daemon stopped answering")?;
        if kernel()? != before {
            thread::sleep(Duration::from_millis(20));
            continue;
        }
        report.kernel = before;
        report.netqueue = Some(seen.sum());
        report.problems = check::incident(scene, &before);
        report.problems.extend(check::netqueue(scene, &before, &seen));
        report.problems.extend(check::reconciliation(&before, seen.reconciliation.as_ref()));
        report.observed(&seen);
        if report.problems.is_empty()
            || disagree_since.get_or_insert_with(Instant::now).elapsed() > AGREE_WITHIN
        {
            return Ok(());
        }
        thread::sleep(Duration::from_millis(100));
    }
    if disagree_since.is_none() {
        bail!(
            "the kernel's counters never stood still for {} s, so nothing could be compared",
            STABLE_WITHIN.as_secs()
        );
    }
    Ok(())
}
