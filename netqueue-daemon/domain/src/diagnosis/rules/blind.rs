//! Incompleteness of netqueue's own view, reported before anybody trusts a zero.

use super::super::{BLIND as ID, Confidence, Evidence, Finding, Impact, Rule, Subject};
use super::{
    count,
    words::{choose, number},
};

pub(super) const BLIND: Rule = Rule {
    id: ID,
    title: "netqueue may not see everything: its counts and verdicts may be incomplete",
    needs: &[],
    evaluate: blind,
    consequence_of: None,
    advice: &[
        "Run netqueue doctor on this machine: it reports what is missing and what to do.",
        "Until then, read counts as lower bounds. Where a residual is not 0, the kernel counted something that netqueue did not \
         attribute.",
    ],
    check_next: &[
        "Read /api/v1/status: it has the probes, the losses and the residual of every network namespace.",
        "Look for another tool that reads BPF maps by system call: it makes the kernel skip probes.",
    ],
};

fn blind(evidence: &Evidence) -> Option<Finding> {
    let sight = &evidence.sight;
    if evidence.subject != Subject::Netqueue || !sight.is_impaired() {
        return None;
    }
    let mut what: Vec<_> = sight.obstacles.iter().map(|obstacle| obstacle.sentence().to_owned()).collect();
    if !sight.unattached.is_empty() {
        let programs = sight.unattached.len() as u64;
        what.push(format!(
            "{} {} not attached: {}",
            number(programs, "program"),
            choose(programs, "is", "are"),
            sight.unattached.join(", ")
        ));
    }
    if sight.missed > 0 {
        what.push(format!("The kernel skipped {}", number(sight.missed, "program run")));
    }
    if sight.lost_charges > 0 {
        what.push(format!("{} may be missing from the counts", number(sight.lost_charges, "increment")));
    }
    if sight.residual > 0 {
        what.push(format!(
            "The kernel's counters and the attributed counts differ by {} in total",
            sight.residual
        ));
    }
    Some(Finding {
        impact: Impact::Unseen,
        affected: sight.lost_charges.max(sight.residual).max(sight.missed),
        confidence: Confidence::High,
        summary: format!("{}.", what.join(". ")),
        clients_see: "not known".to_owned(),
        facts: vec![
            count("programs_not_attached", sight.unattached.len() as u64, "programs"),
            count("runs_missed", sight.missed, "runs"),
            count("charges_lost", sight.lost_charges, "charges"),
            count("residual", sight.residual, "increments"),
        ],
        advice: Vec::new(),
        knobs: Vec::new(),
    })
}
