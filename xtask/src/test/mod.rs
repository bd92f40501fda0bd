//! `cargo xtask test`: runs every check in order, names and times each, and prints the totals last.

mod alerting;
mod api;
mod cargo;
mod chart;
mod dependencies;
mod instructions;
mod lab;
mod package;
mod page;
mod rules;
mod servers;
mod slow_clients;
mod tally;

use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::Result;

use crate::setup;
use crate::tidy;
use crate::vm::Payload;
use crate::vm::kernels::{self, Row};
use crate::workspace::Workspace;
use tally::{Tally, summary};

/// Arguments of `cargo xtask test`.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Options {
    /// Leave out the lab in guests.
    #[arg(long)]
    no_vm: bool,
    /// The kernels for the lab, by row; the whole matrix when none is named.
    #[arg(long = "kernel", value_name = "ROW", conflicts_with = "no_vm")]
    kernels: Vec<String>,
    /// Only the steps whose name contains this, for a closer look.
    #[arg(long, value_name = "NAME")]
    only: Option<String>,
    /// A static binary for the guests instead of a freshly built netqueue.
    #[arg(long, value_name = "FILE")]
    binary: Option<std::path::PathBuf>,
}

/// Runs every check, also after one failed, and counts.
pub(crate) fn command(workspace: &Workspace, options: &Options) -> Result<ExitCode> {
    let rows = kernels::choose(&options.kernels)?;
    let mut steps = Steps { only: options.only.clone(), ..Steps::default() };
    steps.step("setup", || setup::ensure_toolchain(workspace).map(|()| Tally::default()));
    steps.step("fmt", || cargo::fmt(workspace));
    steps.step("clippy", || cargo::clippy(workspace));
    steps.step("clippy, kernel side", || cargo::clippy_ebpf(workspace));
    steps.step("tidy", || Ok(Tally::of(tidy::check(workspace)?)));
    steps.step("dependencies", || dependencies::check(workspace));
    steps.step("unit tests", || cargo::unit_tests(workspace));
    steps.step("query API", || api::check(workspace));
    steps.step("Kubernetes", || chart::check(workspace));
    steps.step("page in Chromium", || page::check(workspace));
    steps.step("alert rules", || rules::check(workspace));
    if !options.no_vm {
        in_guests(&mut steps, workspace, &rows, options);
    }
    Ok(steps.finish())
}

/// Runs the steps that need guests; without the guests' binaries each of them has failed.
fn in_guests(steps: &mut Steps, workspace: &Workspace, rows: &[&'static Row], options: &Options) {
    const WEBHOOK: &str = "lab to webhook";
    const DEBIAN: &str = "package in Debian";
    const AGAIN: &str = "a second build";
    const SLOW: &str = "slow clients";
    const OTHERS: [&str; 6] = [instructions::NAME, servers::NAME, WEBHOOK, DEBIAN, AGAIN, SLOW];
    let labs: Vec<_> = rows.iter().map(|row| (*row, format!("lab on {}", row.name))).collect();
    if !labs.iter().any(|(_, name)| steps.wants(name)) && !OTHERS.iter().any(|name| steps.wants(name)) {
        return;
    }
    let payload = match Payload::build(workspace, options.binary.clone()) {
        Ok(payload) => payload,
        Err(error) => {
            let reason = format!("there are no guest binaries: {error:#}");
            labs.iter().for_each(|(_, name)| steps.skip(name, &reason));
            return OTHERS.iter().for_each(|name| steps.skip(name, &reason));
        }
    };
    let wanted: Vec<_> = labs.into_iter().filter(|(_, name)| steps.wants(name)).collect();
    for together in wanted.chunks(lab::TOGETHER) {
        let rows: Vec<_> = together.iter().map(|(row, _)| *row).collect();
        let names = together.iter().map(|(_, name)| name.as_str());
        steps.side_by_side(names, || lab::on_each(workspace, &rows, &payload));
    }
    steps.step(instructions::NAME, || instructions::check(workspace, &payload));
    steps.step(servers::NAME, || servers::check(workspace, &payload));
    steps.step(WEBHOOK, || alerting::check(workspace, &payload));
    steps.step(SLOW, || slow_clients::check(workspace, &payload.netqueue));
    steps.step(DEBIAN, || package::in_debian(workspace, &payload));
    // A second cold build takes as long as the first: it is done where it is asked for.
    if options.only.is_some() {
        steps.step(AGAIN, || package::reproducible(workspace, &payload.netqueue));
    }
}

/// The steps done so far.
#[derive(Default)]
struct Steps {
    only: Option<String>,
    lines: Vec<String>,
    total: Tally,
}

impl Steps {
    fn step(&mut self, name: &str, work: impl FnOnce() -> Result<Tally>) {
        if !self.wants(name) {
            return;
        }
        println!("\n== {name}");
        let start = Instant::now();
        let tally = work().unwrap_or_else(|error| {
            println!("{name}: {error:#}");
            Tally::FAILURE
        });
        self.done(name, start.elapsed(), tally);
    }

    /// Steps done side by side, each with the time it took itself.
    fn side_by_side<'a>(
        &mut self,
        names: impl Iterator<Item = &'a str> + Clone,
        work: impl FnOnce() -> Vec<(Duration, Tally)>,
    ) {
        println!("\n== {}", names.clone().collect::<Vec<_>>().join(", "));
        for (name, (took, tally)) in names.zip(work()) {
            self.done(name, took, tally);
        }
    }

    fn done(&mut self, name: &str, took: Duration, tally: Tally) {
        let verdict = if tally.failed == 0 { "ok" } else { "FAILED" };
        let line = format!("{verdict:6}  {:7.1} s  {name}{}", took.as_secs_f64(), tally.counts());
        println!("== {line}");
        self.lines.push(line);
        // Whoever reads the end of the output reads why.
        self.lines.extend(tally.reasons.iter().map(|reason| format!("        {reason}")));
        self.total.add(tally);
    }

    fn skip(&mut self, name: &str, reason: &str) {
        if !self.wants(name) {
            return;
        }
        self.lines.push(format!("FAILED      not run  {name}: {reason}"));
        self.total.add(Tally::FAILURE);
    }

    fn wants(&self, name: &str) -> bool {
        self.only.as_ref().is_none_or(|only| name.contains(only))
    }

    fn finish(self) -> ExitCode {
        println!();
        for line in &self.lines {
            println!("{line}");
        }
        println!("{}", summary(&self.total));
        // Nothing done is nothing proven.
        if self.total.failed == 0 && !self.lines.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
    }
}
