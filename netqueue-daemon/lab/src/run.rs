//! `netqueue lab run`: runs the chosen experiments one after the other.

use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Result, bail};
use clap::Args;

use super::client::Server;
use super::expectation::{Experiment, LabSettings};
use super::netns::Netns;
use super::report::{self, ExperimentReport, Report};
use super::verdict::{Outcome, Skip};
use super::{diagnosis, experiments, observation, sockets, trial};

/// The arguments of `netqueue lab run`.
#[derive(Debug, Args)]
pub(super) struct RunArgs {
    /// Names or numbers of experiments, as `netqueue lab list` shows them
    #[arg(required_unless_present = "all", conflicts_with = "all", value_name = "NAME_OR_NUMBER")]
    experiments: Vec<String>,
    /// Runs every experiment
    #[arg(long)]
    all: bool,
    /// Experiments that --all leaves out, by name or number
    #[arg(long, requires = "all", value_name = "NAME_OR_NUMBER")]
    without: Vec<String>,
    /// Prints one JSON document
    #[arg(long)]
    json: bool,
    /// The URL of the netqueue daemon
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:10124")]
    server: String,
    /// Number of drops the concurrency experiment must provoke
    #[arg(long, value_name = "N", default_value_t = 1000)]
    min_drops: u64,
    /// Number of SYNs the experiment flood-100k sends
    #[arg(long, value_name = "N", default_value_t = experiments::SYNS)]
    syns: u32,
    /// Number of listeners the experiment ports-come-and-go opens and closes
    #[arg(long, value_name = "N", default_value_t = experiments::PORTS)]
    ports: u32,
    /// Number of daemons the experiment starts-under-load starts; 0 skips the experiment
    #[arg(long, value_name = "N", default_value_t = 0)]
    starts: u32,
    /// Seconds for which the experiment nginx-https-healthy goes on
    #[arg(long, value_name = "SECONDS", default_value_t = experiments::healthy::SECONDS)]
    healthy_seconds: u64,
    /// Lets experiments change settings of the whole machine for a second or two; use only where nothing
    /// else runs
    #[arg(long)]
    host_settings: bool,
    /// Runs failed experiments up to twice more at the end, unless the numbers differed; for busy machines
    #[arg(long)]
    again: bool,
    /// Only provokes and prints the kernel's counts, compares nothing
    #[arg(long, hide = true)]
    no_daemon: bool,
}

/// Number of further runs of a failed experiment with `--again`.
const AGAIN: usize = 2;

/// Runs the chosen experiments; the exit code is 0 only if none failed.
pub(super) fn run(args: &RunArgs) -> Result<ExitCode> {
    let chosen = choose(args)?;
    let server = Server::parse(&args.server)?;
    let server = (!args.no_daemon).then_some(&server);
    let settings = LabSettings {
        min_drops: args.min_drops,
        syns: args.syns,
        ports: args.ports,
        starts: args.starts,
        healthy_seconds: args.healthy_seconds,
        host_settings: args.host_settings,
    };
    sockets::raise_descriptor_limit()?;
    // Both failures are the caller's mistakes, not an experiment's: report them once, before anything runs.
    Netns::create()?;
    if let Some(server) = server
        && let Err(error) = observation::greet(server)
    {
        // As netqueue's other commands end when no daemon answers.
        eprintln!("netqueue: {error:#}");
        return Ok(ExitCode::from(3));
    }

    let mut reports = Vec::new();
    for experiment in chosen {
        let report = run_one(experiment, settings, server);
        if !args.json {
            report::print(&report)?;
        }
        reports.push((experiment, report));
    }
    // A machine that was too busy for one experiment is often still too busy a moment later.
    for _ in 0..if args.again { AGAIN } else { 0 } {
        for (experiment, report) in &mut reports {
            if report.outcome == Outcome::Failed && !report.miscounted() {
                report.run_again(run_one(experiment, settings, server));
                if !args.json {
                    report::print(report)?;
                }
            }
        }
    }
    let reports = reports.into_iter().map(|(_, report)| report).collect();
    report::finish(Report::new(reports, server.is_some()), args.json)
}

fn choose(args: &RunArgs) -> Result<Vec<&'static Experiment>> {
    let find = |wanted: &String| {
        let named = |experiment: &&Experiment| experiment.name == wanted || experiment.number == wanted;
        match experiments::ALL.iter().find(named) {
            Some(experiment) => Ok(experiment),
            None => {
                bail!("no experiment is called {wanted}; `netqueue lab list` shows their names and numbers")
            }
        }
    };
    if !args.all {
        return args.experiments.iter().map(find).collect();
    }
    let without = args.without.iter().map(find).collect::<Result<Vec<_>>>()?;
    let left_out = |experiment: &&Experiment| without.iter().any(|other| other.name == experiment.name);
    Ok(experiments::ALL.iter().filter(|experiment| !left_out(experiment)).collect())
}

fn run_one(
    experiment: &'static Experiment,
    settings: LabSettings,
    server: Option<&Server>,
) -> ExperimentReport {
    let start = Instant::now();
    let mut report = ExperimentReport::of(experiment);
    match trial::run(&experiment.provoke, settings, server, diagnosis::expected(experiment.name)) {
        Ok(comparison) => report.compared(comparison),
        Err(error) => {
            report.outcome = if error.is::<Skip>() { Outcome::Skipped } else { Outcome::Failed };
            report.problems.push(format!("{error:#}"));
        }
    }
    report.seconds = start.elapsed().as_secs_f64();
    report
}
