//! `netqueue doctor`: a report of what netqueue needs from this machine and whether it has it.

use std::{
    io::{self, Write},
    process::ExitCode,
};

use clap::Args;
use netqueue_domain::AttachWay;
use netqueue_kernel::{
    LoadSettings,
    doctor::{self, Check, Outcome},
};
use nix::sys::utsname::uname;
use serde::Serialize;
use textwrap::Options;

use crate::inventory::host::{self, Host};
use crate::privileges;

/// Arguments of `netqueue doctor`.
#[derive(Clone, Copy, Debug, Args)]
pub struct DoctorArgs {
    /// Prints JSON
    #[arg(long)]
    json: bool,
    /// Mode in which programs are attached: fentry, kprobe, or auto: fentry where the kernel has it
    #[arg(long, value_name = "WAY", default_value = "auto", value_parser = way)]
    attach: AttachWay,
}

fn way(name: &str) -> Result<AttachWay, String> {
    AttachWay::named(name).ok_or_else(|| format!("expected {}", AttachWay::EXPECTED))
}

/// Checks the machine and prints the report. The exit code is 0 only if netqueue can run here.
///
/// # Errors
/// The report cannot be written.
pub fn run(args: DoctorArgs) -> anyhow::Result<ExitCode> {
    privileges::raise_open_files();
    let mut checks = doctor::run(&LoadSettings { attach: args.attach, ..LoadSettings::TRIAL });
    checks.push(host_check(host::find()));
    let out = io::stdout().lock();
    if args.json {
        write_json(out, &checks)?
    } else {
        write_report(out, &kernel_release(), &checks)?
    }
    Ok(if can_run(&checks) { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Checks that the daemon sees the host and not only a container.
fn host_check(host: io::Result<Host>) -> Check {
    let (outcome, detail) = match host.map(|host| host.obstacle) {
        Ok(None) => (Outcome::Good, "the host's network namespace and processes are visible".to_owned()),
        Ok(Some(obstacle)) => (Outcome::Limited, obstacle.sentence().to_owned()),
        Err(error) => {
            (Outcome::Limited, format!("namespaces cannot be told apart: {error}; make /proc visible"))
        }
    };
    Check { subject: "host namespaces".to_owned(), outcome, detail }
}

fn can_run(checks: &[Check]) -> bool {
    checks.iter().all(|check| matches!(check.outcome, Outcome::Good | Outcome::Limited))
}

fn kernel_release() -> String {
    uname().map(|name| name.release().to_string_lossy().into_owned()).unwrap_or_else(|_| "unknown".to_owned())
}

/// Width of the report in columns; a word that cannot be broken may exceed it.
const LINE: usize = 110;

const fn word(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Good => "ok",
        Outcome::Limited => "limited",
        Outcome::Bad => "FAILED",
        Outcome::Skipped => "skipped",
    }
}

fn write_report(mut out: impl Write, release: &str, checks: &[Check]) -> io::Result<()> {
    writeln!(out, "netqueue {} on Linux {release}\n", env!("CARGO_PKG_VERSION"))?;
    let width = checks.iter().map(|check| check.subject.len()).max().unwrap_or(0);
    for check in checks {
        let head = format!("  {:<7}  {:<width$}  ", word(check.outcome), check.subject);
        let margin = " ".repeat(head.len());
        let options = Options::new(LINE).initial_indent(&head).subsequent_indent(&margin);
        writeln!(out, "{}", textwrap::fill(&check.detail, options))?;
    }
    let limited = checks.iter().filter(|check| check.outcome == Outcome::Limited).count();
    let verdict = match (can_run(checks), limited) {
        (true, 0) => "netqueue can run here.".to_owned(),
        (true, limited) => format!("netqueue can run here, limited in {limited} respect(s)."),
        (false, _) => {
            "netqueue cannot run here. `netqueue replay FILE` runs on a recording and needs no kernel."
                .to_owned()
        }
    };
    writeln!(out, "\n{verdict}")
}

fn write_json(mut out: impl Write, checks: &[Check]) -> anyhow::Result<()> {
    #[derive(Serialize)]
    struct Line<'a> {
        subject: &'a str,
        outcome: &'static str,
        detail: &'a str,
    }
    #[derive(Serialize)]
    struct Report<'a> {
        version: &'static str,
        kernel: String,
        can_run: bool,
        checks: Vec<Line<'a>>,
    }
    let lines = checks.iter().map(|check| Line {
        subject: &check.subject,
        outcome: word(check.outcome),
        detail: &check.detail,
    });
    let report = Report {
        version: env!("CARGO_PKG_VERSION"),
        kernel: kernel_release(),
        can_run: can_run(checks),
        checks: lines.collect(),
    };
    serde_json::to_writer_pretty(&mut out, &report)?;
    writeln!(out)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(checks: &[Check]) -> String {
        let mut out = Vec::new();
        write_report(&mut out, "6.1.0", checks).expect("memory can be written");
        String::from_utf8(out).expect("it is text")
    }

    fn check(outcome: Outcome) -> Check {
        Check { subject: "kprobes".into(), outcome, detail: "as found".into() }
    }

    #[test]
    fn a_failed_or_skipped_check_means_that_netqueue_cannot_run() {
        assert!(
            report(&[check(Outcome::Good)])
                .ends_with("ok       kprobes  as found\n\nnetqueue can run here.\n")
        );
        assert!(report(&[check(Outcome::Limited)]).ends_with("limited in 1 respect(s).\n"));
        for outcome in [Outcome::Bad, Outcome::Skipped] {
            assert!(!can_run(&[check(Outcome::Good), check(outcome)]));
            assert!(report(&[check(outcome)]).contains("\nnetqueue cannot run here."));
        }
    }
}
