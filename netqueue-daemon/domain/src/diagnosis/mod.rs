//! Diagnosis: evidence in, verdicts out, ranked by what clients suffer. Pure.

mod accepting;
mod closed_ports;
mod counterfactual;
mod ended;
mod evidence;
mod gather;
mod incident;
mod known;
mod neighbours;
mod rule;
mod rules;
mod scope;
mod software;
mod sysctls;
#[cfg(test)]
mod tests;
mod verdict;

pub use accepting::{Accepting, Stall, Wait};
pub use counterfactual::{
    Counterfactual, Episode, Overflow, QueueFlow, Refusal, Remedy, Stage, last_arrival,
};
pub use evidence::{
    Bound, Elsewhere, Evidence, ExaminedOwner, Group, ListenerElsewhere, ListeningProcess, Stopped,
    Visibility,
};
pub use gather::evidence;
pub use rule::{ConsequenceOf, Finding, Need, Rule};
pub use rules::RULES;
pub use scope::Scope;
pub use sysctls::SysctlValues;
pub use verdict::{Cause, Confidence, Fact, Impact, Knob, Subject, Verdict};

use incident::Incident;

/// Id of the rule about netqueue itself.
pub(crate) const BLIND: &str = "netqueue_blind";

/// Returns every verdict that the evidence supports, by incident, the worst for clients first.
///
/// Sorts incidents by whether they do harm, whether they go on, their impact and the number of affected
/// clients (a reset counts as thirty delays), and the order of the rules.
#[must_use]
pub fn evaluate<'a>(evidence: impl IntoIterator<Item = &'a Evidence>) -> Vec<Verdict> {
    let applied = |evidence| {
        RULES.iter().enumerate().filter_map(move |(place, rule)| Some((place, rule.apply(evidence)?)))
    };
    let mut incidents: Vec<_> =
        evidence.into_iter().flat_map(|evidence| incident::incidents(applied(evidence))).collect();
    incidents.sort_by(Incident::compare);
    incidents.into_iter().flat_map(Incident::verdicts).collect()
}

/// Returns the first `limit` verdicts, always with the one that netqueue is blind, if there is one.
/// That verdict replaces the last one if it would have come later: without it, readers would take the others
/// for the whole truth.
#[must_use]
pub fn first(mut verdicts: Vec<Verdict>, limit: usize) -> Vec<Verdict> {
    let left_out = verdicts.split_off(limit.min(verdicts.len()));
    let blind = left_out.into_iter().find(|verdict| verdict.rule == BLIND);
    if let (Some(blind), Some(last)) = (blind, verdicts.last_mut()) {
        *last = blind;
    }
    verdicts
}
