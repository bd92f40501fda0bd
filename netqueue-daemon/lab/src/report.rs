//! The report of a run, for a person or a program: a block per experiment and a summary line.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::mem;
use std::process::ExitCode;

use anyhow::Result;
use serde::{Serialize, Serializer};

use super::counters::{self, Counter, Counters};
use super::expectation::Experiment;
use super::observation::Observation;
use super::trial::Comparison;
use super::verdict::Outcome;

/// The result of one experiment.
#[derive(Debug, Serialize)]
pub(super) struct ExperimentReport {
    number: &'static str,
    name: &'static str,
    incident: &'static str,
    verdict: &'static str,
    pub outcome: Outcome,
    /// The reasons why it failed or was skipped.
    pub problems: Vec<String>,
    /// The reasons of earlier failures, if the experiment was run again.
    earlier: Option<Vec<String>>,
    /// netqueue's own status after a failure.
    status: Option<String>,
    /// The inode number of the namespace it ran in.
    netns: u64,
    #[serde(serialize_with = "by_name")]
    kernel: Counters,
    #[serde(serialize_with = "by_name_if_any")]
    netqueue: Option<Counters>,
    /// netqueue's breakdown of each address that counted something.
    said: Vec<String>,
    /// The experiment's own measurements.
    measured: Vec<String>,
    events: usize,
    pub seconds: f64,
}

fn by_name<S: Serializer>(counters: &Counters, serializer: S) -> Result<S::Ok, S::Error> {
    counters::by_name(counters).serialize(serializer)
}

fn by_name_if_any<S: Serializer>(counters: &Option<Counters>, serializer: S) -> Result<S::Ok, S::Error> {
    counters.as_ref().map(counters::by_name).serialize(serializer)
}

impl ExperimentReport {
    /// Creates the report of an experiment that has no result yet.
    pub(super) fn of(experiment: &Experiment) -> Self {
        Self {
            number: experiment.number,
            name: experiment.name,
            incident: experiment.incident,
            verdict: experiment.verdict,
            outcome: Outcome::Failed,
            problems: Vec::new(),
            earlier: None,
            status: None,
            netns: 0,
            kernel: Counters::default(),
            netqueue: None,
            said: Vec::new(),
            measured: Vec::new(),
            events: 0,
            seconds: 0.0,
        }
    }

    /// Returns whether netqueue was queried and its counts differ from the kernel's, which nothing excuses.
    pub(super) fn miscounted(&self) -> bool {
        self.netqueue.is_some_and(|netqueue| netqueue != self.kernel)
    }

    /// Formats the first reasons of its failures.
    fn reasons(&self) -> impl Iterator<Item = String> {
        /// Reasons of one run; the block of the experiment has all of them.
        const REASONS: usize = 3;
        let earlier = self.earlier.iter().flatten().take(REASONS).map(|reason| ("before: ", reason));
        let problems = self.problems.iter().take(REASONS).map(|reason| ("", reason));
        earlier.chain(problems).map(|(run, reason)| format!("lab: failed {}: {run}{reason}", self.name))
    }

    /// Replaces the report of a run that failed by that of a further run.
    pub(super) fn run_again(&mut self, next: Self) {
        let failed = mem::replace(self, next);
        self.earlier = Some(failed.earlier.into_iter().flatten().chain(failed.problems).collect());
    }

    /// Fills in the result of an experiment whose incident was provoked.
    pub(super) fn compared(&mut self, comparison: Comparison) {
        let Comparison { netns, kernel, netqueue, measured, problems, status } = comparison;
        self.outcome = match (problems.is_empty(), &netqueue) {
            (false, _) => Outcome::Failed,
            (true, Some(_)) => Outcome::Passed,
            (true, None) => Outcome::Provoked,
        };
        self.netns = netns;
        self.kernel = kernel;
        self.measured = measured;
        self.problems = problems;
        self.status = status;
        if let Some(seen) = netqueue {
            self.netqueue = Some(seen.sum());
            self.events = seen.events.len();
            self.said = said(&seen);
        }
    }
}

/// Formats netqueue's answers.
fn said(seen: &Observation) -> Vec<String> {
    const ROWS: usize = 8;
    let mut said = Vec::new();
    for row in &seen.rows {
        if row.drops.total > 0 {
            said.push(format!("{row}: drops: {}", row.drops));
        }
        if row.resets.total > 0 {
            said.push(format!("{row}: resets: {}", row.resets));
        }
    }
    // Put "listener ..." first; endpoints and the folded rest follow.
    said.sort_by_cached_key(|line| (!line.starts_with("listener"), line.clone()));
    let mut said: Vec<String> = said.chunk_by(|one, other| one == other).filter_map(times).collect();
    if said.len() > ROWS {
        let more = said.len() - ROWS;
        said.truncate(ROWS);
        said.push(format!("and {more} addresses more"));
    }
    said
}

/// Merges equal lines into one: the rows of successive listeners on one address.
fn times(lines: &[String]) -> Option<String> {
    let line = lines.first()?;
    Some(if lines.len() == 1 { line.clone() } else { format!("{line}, {} times", lines.len()) })
}

/// The results of all experiments.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    experiments: Vec<ExperimentReport>,
    passed: usize,
    failed: usize,
    skipped: usize,
    provoked: usize,
    /// Number of experiments that were run more than once.
    again: usize,
    /// True if a daemon was queried.
    compared: bool,
}

impl Report {
    pub(super) fn new(experiments: Vec<ExperimentReport>, compared: bool) -> Self {
        let count = |outcome| experiments.iter().filter(|report| report.outcome == outcome).count();
        Self {
            passed: count(Outcome::Passed),
            failed: count(Outcome::Failed),
            skipped: count(Outcome::Skipped),
            provoked: count(Outcome::Provoked),
            again: experiments.iter().filter(|report| report.earlier.is_some()).count(),
            compared,
            experiments,
        }
    }

    /// Formats the reasons of each failure once more, for readers who have only the end of the output.
    fn reasons(&self) -> impl Iterator<Item = String> {
        let failed = self.experiments.iter().filter(|report| report.outcome == Outcome::Failed);
        failed.flat_map(ExperimentReport::reasons)
    }

    /// Formats the summary line.
    fn summary(&self) -> String {
        let mut line = if self.compared {
            format!("lab: {} passed, {} failed", self.passed, self.failed)
        } else {
            format!("lab: {} provoked, {} failed", self.provoked, self.failed)
        };
        if self.skipped > 0 {
            line += &format!(", {} skipped", self.skipped);
        }
        if self.again > 0 {
            line += &format!(", {} run again", self.again);
        }
        let failed = self.experiments.iter().filter(|report| report.outcome == Outcome::Failed);
        let failed: Vec<_> = failed.map(|report| report.name).collect();
        if !failed.is_empty() {
            line += &format!(", failed: {}", failed.join(" "));
        }
        if !self.compared {
            line += "; nothing was compared with netqueue";
        }
        line
    }
}

/// Prints the block of one experiment.
pub(super) fn print(report: &ExperimentReport) -> Result<()> {
    let mut out = io::stdout().lock();
    writeln!(
        out,
        "{:>3}  {:<28} {:<9} {:>6.1} s",
        report.number,
        report.name,
        report.outcome.word(),
        report.seconds
    )?;
    writeln!(out, "     {}", report.incident)?;
    if report.outcome != Outcome::Skipped {
        counters(&mut out, report)?;
        for line in report.said.iter().chain(&report.measured) {
            writeln!(out, "     {line}")?;
        }
    }
    if report.outcome == Outcome::Passed {
        writeln!(out, "     => {}", report.verdict)?;
    }
    for problem in report.earlier.iter().flatten() {
        writeln!(out, "     before: {problem}")?;
    }
    for problem in &report.problems {
        writeln!(out, "     {}: {problem}", report.outcome.word())?;
    }
    if let Some(status) = &report.status {
        writeln!(out, "     {}: netqueue's status: {status}", report.outcome.word())?;
    }
    writeln!(out)?;
    out.flush()?;
    Ok(())
}

fn counters(out: &mut impl Write, report: &ExperimentReport) -> io::Result<()> {
    let netqueue = |counter| report.netqueue.map(|counters| counters.get(counter));
    let moved = |counter: &Counter| {
        report.kernel.get(*counter) > 0 || netqueue(*counter).is_some_and(|value| value > 0)
    };
    let moved: Vec<_> = Counter::ALL.into_iter().filter(moved).collect();
    if moved.is_empty() {
        return writeln!(out, "     the kernel counted nothing");
    }
    let heading = if report.netqueue.is_some() { "netqueue" } else { "" };
    writeln!(out, "     {:<22}{:>9}{heading:>10}", "", "kernel")?;
    for counter in moved {
        let said = netqueue(counter).map_or(String::new(), |value| value.to_string());
        writeln!(out, "     {:<22}{:>9}{said:>10}", counter.as_str(), report.kernel.get(counter))?;
    }
    Ok(())
}

/// Prints the end of the report; returns exit code 0 only if some experiment ran and none failed.
pub(super) fn finish(report: Report, json: bool) -> Result<ExitCode> {
    let mut out = io::stdout().lock();
    if json {
        serde_json::to_writer_pretty(&mut out, &report)?;
        writeln!(out)?;
    } else {
        for line in report.reasons() {
            writeln!(out, "{line}")?;
        }
        writeln!(out, "{}", report.summary())?;
    }
    let good = report.failed == 0 && report.passed + report.provoked > 0;
    Ok(if good { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// `netqueue lab list`
pub(super) fn list(experiments: &[Experiment], json: bool) -> Result<ExitCode> {
    let mut out = io::stdout().lock();
    if json {
        let entry = |experiment: &Experiment| {
            BTreeMap::from([
                ("number", experiment.number),
                ("name", experiment.name),
                ("incident", experiment.incident),
                ("verdict", experiment.verdict),
            ])
        };
        let entries: Vec<_> = experiments.iter().map(entry).collect();
        serde_json::to_writer_pretty(&mut out, &BTreeMap::from([("experiments", entries)]))?;
        writeln!(out)?;
    } else {
        for experiment in experiments {
            writeln!(out, "{:>3}  {:<28} {}", experiment.number, experiment.name, experiment.incident)?;
        }
    }
    Ok(ExitCode::SUCCESS)
}
