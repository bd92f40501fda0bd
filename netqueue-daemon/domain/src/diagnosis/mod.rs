//! Diagnosis: evidence in, verdicts out, ranked by what clients suffer. Pure.

mod accepting;
mod counterfactual;
mod evidence;
mod gather;
mod known;
mod neighbours;
mod rule;
mod rules;
mod scope;
mod software;
#[cfg(test)]
mod tests;
mod verdict;

pub use accepting::{Accepting, Stall, Wait};
pub use counterfactual::{
    Counterfactual, Episode, Overflow, QueueFlow, Refusal, Remedy, Stage, last_arrival,
};
pub use evidence::{
    Bound, Elsewhere, Evidence, ExaminedOwner, Group, ListenerElsewhere, ListeningProcess, Stopped,
    SysctlValues, Visibility,
};
pub use gather::evidence;
pub use rule::{Finding, Need, Rule};
pub use rules::RULES;
pub use scope::Scope;
pub use verdict::{Cause, Confidence, Fact, Impact, Knob, Subject, Verdict};

/// Id of the rule about netqueue itself.
pub(crate) const BLIND: &str = "netqueue_blind";

/// Returns every verdict that the evidence supports, the worst for clients first.
///
/// Harmless incidents come last, and those that are over come below those that go on: whoever is paged must
/// act on the latter. Within these, sorts by impact, by the number of affected clients, and by the order of the rules.
#[must_use]
pub fn evaluate<'a>(evidence: impl IntoIterator<Item = &'a Evidence>) -> Vec<Verdict> {
    let mut verdicts: Vec<(usize, Verdict)> = evidence
        .into_iter()
        .flat_map(|evidence| {
            RULES.iter().enumerate().filter_map(|(place, rule)| Some((place, rule.apply(evidence)?)))
        })
        .collect();
    verdicts.sort_by(|(place, one), (other_place, other)| {
        rank(one)
            .cmp(&rank(other))
            .then(one.impact.cmp(&other.impact))
            .then(other.affected.cmp(&one.affected))
            .then(place.cmp(other_place))
            .then(one.subject.cmp(&other.subject))
    });
    verdicts.into_iter().map(|(_, verdict)| verdict).collect()
}

/// Returns the group of a verdict: harm that goes on, harm that is over, and none.
const fn rank(verdict: &Verdict) -> u8 {
    match verdict.impact {
        Impact::NeverServed | Impact::Reset | Impact::Delayed if verdict.ongoing => 0,
        Impact::NeverServed | Impact::Reset | Impact::Delayed => 1,
        Impact::Unseen | Impact::Absorbed => 2,
    }
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
