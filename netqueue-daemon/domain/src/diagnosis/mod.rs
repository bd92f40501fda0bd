//! Diagnosis: evidence in, verdicts out, ranked by what clients suffer. Pure.

mod counterfactual;
mod evidence;
mod gather;
mod known;
mod rule;
mod rules;
mod software;
#[cfg(test)]
mod tests;
mod verdict;

pub use counterfactual::{Counterfactual, Flow, Overflow, Refusal, Remedy, last_arrival};
pub use evidence::{Bound, Evidence, Group, Idle, Process, Settings, Sight};
pub use gather::evidence;
pub use rule::{Finding, Need, Rule};
pub use rules::RULES;
pub use verdict::{Because, Confidence, Fact, Harm, Knob, Subject, Verdict};

/// The rule that speaks of netqueue itself.
pub(crate) const BLIND: &str = "netqueue_blind";

/// Every verdict the evidence supports, the worst for clients first: by harm, then by how many, then in the order of the
/// rules.
#[must_use]
pub fn judge<'a>(evidence: impl IntoIterator<Item = &'a Evidence>) -> Vec<Verdict> {
    let mut verdicts: Vec<(usize, Verdict)> = evidence
        .into_iter()
        .flat_map(|evidence| {
            RULES.iter().enumerate().filter_map(|(place, rule)| Some((place, rule.apply(evidence)?)))
        })
        .collect();
    verdicts.sort_by(|(place, one), (other_place, other)| {
        one.harm
            .cmp(&other.harm)
            .then(other.affected.cmp(&one.affected))
            .then(place.cmp(other_place))
            .then(one.subject.cmp(&other.subject))
    });
    verdicts.into_iter().map(|(_, verdict)| verdict).collect()
}

/// The first `limit` verdicts. Where netqueue does not see everything, that is the last of them if it would have come later: whoever
/// does not read it takes the others for the whole truth.
#[must_use]
pub fn first(mut verdicts: Vec<Verdict>, limit: usize) -> Vec<Verdict> {
    let left_out = verdicts.split_off(limit.min(verdicts.len()));
    let blind = left_out.into_iter().find(|verdict| verdict.rule == BLIND);
    if let (Some(blind), Some(last)) = (blind, verdicts.last_mut()) {
        *last = blind;
    }
    verdicts
}
