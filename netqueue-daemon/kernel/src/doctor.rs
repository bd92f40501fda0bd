//! Checks of `netqueue doctor`: every requirement on the machine, and every probe, one by one.

use netqueue_common::KernelLayout;
use netqueue_domain::{AttachWay, Obstacle, ProbeStatus};

use super::{
    attach::{self, LoadSettings},
    error::AttachError,
    layout::{self, Addresses},
    lockdown, preflight, probes, switches,
};

/// Result of one check.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The requirement is met.
    Good,
    /// Something is missing that netqueue can do without; the detail gives the cost.
    Limited,
    /// netqueue cannot run.
    Bad,
    /// An earlier check failed, so that this one could not run.
    Skipped,
}

/// One line of the doctor's report.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Check {
    /// Subject of the check.
    pub subject: String,
    /// Result of the check.
    pub outcome: Outcome,
    /// Finding, and its cure where it is not good.
    pub detail: String,
}

fn check<T>(subject: &str, found: &Result<T, AttachError>, describe: impl Fn(&T) -> String) -> Check {
    let (outcome, detail) = match found {
        Ok(value) => (Outcome::Good, describe(value)),
        Err(error) => (Outcome::Bad, error.to_string()),
    };
    Check { subject: subject.to_owned(), outcome, detail }
}

fn skipped(subject: &str, why: &str) -> Check {
    Check { subject: subject.to_owned(), outcome: Outcome::Skipped, detail: why.to_owned() }
}

/// Runs every check, attaches all probes, and detaches them again.
#[must_use]
pub fn run(settings: &LoadSettings) -> Vec<Check> {
    const FIELDS: &str = "symbols, fields, counters";
    let (privileges, btf, symbols) = (preflight::privileges(), preflight::btf(), preflight::symbols());
    let mut checks = vec![
        check("privileges", &privileges, String::clone),
        check("lockdown", &lockdown::check(), String::clone),
        switches_check(),
        check("kernel types (BTF)", &btf, |_| format!("{} readable", preflight::BTF_FILE)),
        kprobe_check(settings.attach),
    ];
    if let Ok(symbols) = &symbols {
        checks.push(check("kernel functions", &probes::require(symbols), |()| "all there".to_owned()));
    }
    checks.push(match (&btf, symbols) {
        (Ok(btf), Ok(symbols)) => check(FIELDS, &preflight::layout(btf, &symbols), found_layout),
        (_, Err(error)) => check(FIELDS, &Err(error), found_layout),
        (Err(_), Ok(_)) => skipped(FIELDS, "needs the kernel's types"),
    });
    if privileges.is_err() {
        checks.push(skipped("programs", "needs the privileges"));
    } else {
        checks.extend(programs(settings, checks.iter().any(|check| check.outcome == Outcome::Bad)));
    }
    checks
}

/// Attaches the programs one by one; where that is impossible, at least verifies them.
fn programs(settings: &LoadSettings, blocked: bool) -> Vec<Check> {
    if blocked {
        return vec![verified(), skipped("probes", "not attached: see above")];
    }
    match attach::attach(settings) {
        Ok(attached) => {
            let caveats = attached.caveats().map(|detail| Check {
                subject: "exactness".to_owned(),
                outcome: Outcome::Limited,
                detail,
            });
            attached.probes().iter().map(probe_check).chain(caveats).collect()
        }
        Err(error) => vec![verified(), check("probes", &Err(error), |()| String::new())],
    }
}

fn verified() -> Check {
    let layout = preflight::btf()
        .and_then(|btf| layout::read(&btf, Addresses::default()).map_err(AttachError::FieldsMissing));
    let verified = layout.and_then(|layout| attach::verify(&layout));
    check("programs", &verified, |number| format!("{number} accepted by this kernel's verifier"))
}

/// Checks the kernel's own switches: attached programs do nothing while one is off.
fn switches_check() -> Check {
    let off: Vec<_> = switches::switched_off().map(Obstacle::sentence).collect();
    let (outcome, detail) = match off.is_empty() {
        true => (Outcome::Good, "kernel.ftrace_enabled and kprobes are not switched off".to_owned()),
        false => (Outcome::Bad, off.join("; ")),
    };
    Check { subject: "kernel switches".to_owned(), outcome, detail }
}

/// Checks for kprobes, whose absence is a limitation only where fentry may be used.
fn kprobe_check(way: AttachWay) -> Check {
    let found = check("kprobes", &preflight::kprobes(), String::clone);
    match (way, found.outcome) {
        (AttachWay::Auto | AttachWay::Fentry, Outcome::Bad) => {
            Check { outcome: Outcome::Limited, detail: format!("{}; fentry is tried", found.detail), ..found }
        }
        _ => found,
    }
}

fn probe_check(status: &ProbeStatus) -> Check {
    let subject = format!("probe {} ({})", status.function, status.at);
    let mode = status.mode.as_str();
    let (outcome, detail) = match (&status.detail, status.attached) {
        (None, _) => (Outcome::Good, format!("attached ({mode})")),
        (Some(remark), true) => (Outcome::Good, format!("attached ({mode}); {remark}")),
        (Some(reason), false) => (Outcome::Limited, reason.clone()),
    };
    Check { subject, outcome, detail }
}

fn found_layout(layout: &KernelLayout) -> String {
    let reasons = if layout.reset_reason_arg == KernelLayout::ABSENT { "without" } else { "with" };
    format!("every offset and counter found; {reasons} the kernel's own reset reasons")
}
