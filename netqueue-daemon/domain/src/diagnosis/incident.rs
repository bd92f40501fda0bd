//! Incidents: the verdict on a cause, followed by those on its consequences.

use std::cmp::Ordering;

use super::{Impact, Verdict};

/// One incident: a verdict that no other one explains, and its consequences, the worst first.
pub(super) struct Incident {
    lead: Verdict,
    /// Place of the leading verdict's rule in the table.
    place: usize,
    consequences: Vec<Verdict>,
}

impl Incident {
    /// Compares two incidents; the worse one is less.
    pub(super) fn compare(&self, other: &Self) -> Ordering {
        worse(&self.lead, &other.lead)
            .then(self.place.cmp(&other.place))
            .then(self.lead.subject.cmp(&other.lead.subject))
    }

    /// Returns the verdicts, the cause first.
    pub(super) fn verdicts(self) -> impl Iterator<Item = Verdict> {
        [self.lead].into_iter().chain(self.consequences)
    }
}

/// Groups the verdicts on one subject into incidents. The verdicts are in the order of the rules.
pub(super) fn incidents(verdicts: impl Iterator<Item = (usize, Verdict)>) -> Vec<Incident> {
    let verdicts: Vec<_> = verdicts.collect();
    let rules: Vec<_> = verdicts.iter().map(|(_, verdict)| verdict.rule).collect();
    let explained =
        |verdict: &Verdict| verdict.because.as_ref().is_some_and(|because| rules.contains(&because.rule));
    let (consequences, leads): (Vec<_>, Vec<_>) =
        verdicts.into_iter().partition(|(_, verdict)| explained(verdict));
    let mut incidents: Vec<_> =
        leads.into_iter().map(|(place, lead)| Incident { lead, place, consequences: Vec::new() }).collect();
    for (place, verdict) in consequences {
        let cause = verdict.because.as_ref().map(|because| because.rule);
        match incidents.iter_mut().find(|incident| Some(incident.lead.rule) == cause) {
            Some(incident) => incident.consequences.push(verdict),
            // Its cause is itself a consequence: told alone, it still names that cause.
            None => incidents.push(Incident { lead: verdict, place, consequences: Vec::new() }),
        }
    }
    for incident in &mut incidents {
        incident.consequences.sort_by(worse);
        incident.consequences.iter().for_each(|consequence| lead(&mut incident.lead, consequence));
    }
    incidents
}

/// Compares two verdicts by what clients suffer; the worse one is less.
///
/// Harmless verdicts come last, and those on what is over come below those on what goes on: whoever is paged
/// must act on the latter.
fn worse(one: &Verdict, other: &Verdict) -> Ordering {
    one.rank()
        .cmp(&other.rank())
        .then(class(one.impact).cmp(&class(other.impact)))
        .then(weight(other).cmp(&weight(one)))
        .then(one.impact.cmp(&other.impact))
}

/// Returns the impact, with resets and delays as one: a stray reset must not hide a burst that held up
/// hundreds.
const fn class(impact: Impact) -> Impact {
    match impact {
        Impact::Reset | Impact::Delayed => Impact::Reset,
        Impact::NeverServed | Impact::Unseen | Impact::Absorbed => impact,
    }
}

/// Returns the number of affected clients, in which a reset counts as many delays.
const fn weight(verdict: &Verdict) -> u64 {
    /// A delay costs a client a second or so, a reset an error that somebody sees.
    const RESET: u64 = 30;
    match verdict.impact {
        Impact::Reset => verdict.affected.saturating_mul(RESET),
        Impact::NeverServed | Impact::Delayed | Impact::Unseen | Impact::Absorbed => verdict.affected,
    }
}

/// Adds a consequence to the verdict on its cause: whoever reads only that one learns all of the harm.
fn lead(cause: &mut Verdict, consequence: &Verdict) {
    cause.consequences.push(consequence.rule);
    cause.ongoing |= consequence.ongoing && consequence.impact.is_harm();
    cause.impact = cause.impact.min(consequence.impact);
    match consequence.because.as_ref().and_then(|because| because.sentence.as_ref()) {
        Some(sentence) => {
            cause.affected += consequence.affected;
            cause.summary = format!("{} {sentence}", cause.summary);
            cause.clients_see = format!("{}; others see {}", cause.clients_see, consequence.clients_see);
        }
        None => cause.affected = cause.affected.max(consequence.affected),
    }
    for knob in &consequence.knobs {
        if !cause.knobs.contains(knob) {
            cause.knobs.push(knob.clone());
        }
    }
}
