//! Incompleteness of netqueue's own view, reported before anybody trusts a zero.

use super::super::{BLIND as ID, Confidence, Evidence, Finding, Impact, Rule, Subject};
use super::{count, number};

pub(super) const BLIND: Rule = Rule {
    id: ID,
    title: "netqueue does not see everything: what it says may be incomplete",
    needs: &[],
    evaluate: blind,
    causes: &[],
    advice: &[
        "run netqueue doctor on this machine: it says what is missing and what to do",
        "until then take counts as a lower bound; where a residual is not 0 the kernel counted what was not attributed",
    ],
    check_next: &[
        "/api/v1/status: probes, losses and the residual of every namespace",
        "another tool that reads maps by system call: it makes the kernel skip probes",
    ],
};

fn blind(evidence: &Evidence) -> Option<Finding> {
    let sight = &evidence.sight;
    if evidence.subject != Subject::Netqueue || !sight.is_impaired() {
        return None;
    }
    let mut what: Vec<_> = sight.obstacles.iter().map(|obstacle| obstacle.sentence().to_owned()).collect();
    if !sight.unattached.is_empty() {
        what.push(format!("not attached: {}", sight.unattached.join(", ")));
    }
    if sight.missed > 0 {
        what.push(format!("the kernel skipped {}", number(sight.missed, "run")));
    }
    if sight.lost_charges > 0 {
        what.push(format!("{} may be missing", number(sight.lost_charges, "charge")));
    }
    if sight.residual > 0 {
        what.push(format!("{} of the kernel's counters not attributed", number(sight.residual, "increment")));
    }
    Some(Finding {
        impact: Impact::Unseen,
        affected: sight.lost_charges.max(sight.residual).max(sight.missed),
        confidence: Confidence::High,
        summary: format!("{}.", what.join("; ")),
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
