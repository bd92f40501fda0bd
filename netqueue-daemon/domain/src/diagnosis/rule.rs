//! Rules: the evidence that each needs, its condition, and its advice. Rules are data; the table is in
//! `rules/`.

use super::{Cause, Confidence, Evidence, Fact, Impact, Knob, Verdict};

/// One rule.
pub struct Rule {
    /// Identifier; with hyphens, the name of the rule's runbook.
    pub id: &'static str,
    /// Problem in one line.
    pub title: &'static str,
    /// Evidence that the rule needs. Missing evidence is reported, and some kinds of it lower the
    /// confidence.
    pub needs: &'static [Need],
    /// Evaluates the evidence: returns a finding if the rule applies. Pure.
    pub evaluate: fn(&Evidence) -> Option<Finding>,
    /// Place of the rule in an incident that another rule explains; `None` if it is never a consequence.
    pub consequence_of: Option<ConsequenceOf>,
    /// Advice that does not depend on the numbers.
    pub advice: &'static [&'static str],
    /// Next things to check.
    pub check_next: &'static [&'static str],
}

/// Rules that explain another one.
pub struct ConsequenceOf {
    /// Rules that may be the cause, of which the first that applies is reported. Settings that remedy the
    /// cause help here as well, so the verdict includes them.
    pub causes: &'static [&'static Rule],
    /// Formats the sentence that the verdict on the cause ends with. `None` if both are about the same
    /// clients, so that there is nothing to add.
    pub sentence: Option<fn(&Evidence) -> String>,
}

/// Result of applying a rule to the evidence.
#[derive(Clone, Debug)]
pub struct Finding {
    /// Impact on clients.
    pub impact: Impact,
    /// Number of affected clients.
    pub affected: u64,
    /// Confidence if all needed evidence is present.
    pub confidence: Confidence,
    /// Summary of the incident, with the numbers.
    pub summary: String,
    /// Symptoms that clients saw.
    pub clients_see: String,
    /// Numbers that support the finding.
    pub facts: Vec<Fact>,
    /// Advice that depends on the numbers; precedes the rule's own.
    pub advice: Vec<String>,
    /// Settings to change.
    pub knobs: Vec<Knob>,
}

/// Kind of evidence that a rule may need.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    /// Number of connections that arrived and were accepted.
    QueueFlow,
    /// Clients that were refused.
    Refusals,
    /// Backlog in force and the term that decides it.
    Limit,
    /// Process that listens.
    Owner,
    /// tcp_abort_on_overflow.
    AbortOnOverflow,
    /// tcp_syncookies.
    Syncookies,
    /// tcp_synack_retries.
    SynackRetries,
    /// Senders of the packets.
    Peers,
}

impl Need {
    fn is_met(self, evidence: &Evidence) -> bool {
        match self {
            Self::QueueFlow => evidence.flow.is_some(),
            Self::Refusals => evidence.counterfactual.is_some(),
            Self::Limit => evidence.backlog.is_some() && evidence.bound_by.is_some(),
            Self::Owner => evidence.owner.is_some(),
            Self::AbortOnOverflow => evidence.settings.abort_on_overflow.is_some(),
            Self::Syncookies => evidence.settings.syncookies.is_some(),
            Self::SynackRetries => evidence.settings.synack_retries.is_some(),
            Self::Peers => !evidence.peers.is_empty(),
        }
    }

    /// Returns the name of the missing evidence, for the user.
    const fn missing(self) -> &'static str {
        match self {
            Self::QueueFlow => "how many connections arrived and were accepted",
            Self::Refusals => "which clients were turned away, and when",
            Self::Limit => "the backlog in force and the setting that decides it",
            Self::Owner => "the listening process",
            Self::AbortOnOverflow => "tcp_abort_on_overflow in that network namespace",
            Self::Syncookies => "tcp_syncookies in that network namespace",
            Self::SynackRetries => "tcp_synack_retries in that network namespace",
            Self::Peers => "the senders of the packets",
        }
    }

    /// Returns whether a verdict is less certain without this evidence; a mere name changes nothing.
    const fn weighs(self) -> bool {
        match self {
            Self::QueueFlow | Self::Refusals => true,
            Self::Limit
            | Self::Owner
            | Self::AbortOnOverflow
            | Self::Syncookies
            | Self::SynackRetries
            | Self::Peers => false,
        }
    }
}

impl Rule {
    /// Returns the verdict, if the rule applies.
    #[must_use]
    pub fn apply(&self, evidence: &Evidence) -> Option<Verdict> {
        let finding = (self.evaluate)(evidence)?;
        let unmet = || self.needs.iter().filter(|need| !need.is_met(evidence));
        let blind = evidence.sight.is_impaired() && self.id != super::BLIND;
        let doubts = unmet().filter(|need| need.weighs()).count() + usize::from(blind);
        let confidence = (0..doubts).fold(finding.confidence, |confidence, _| confidence.lower());
        let cause = self.consequence_of.as_ref().and_then(|ConsequenceOf { causes, sentence }| {
            let (rule, cause) = causes.iter().find_map(|rule| Some((rule.id, (rule.evaluate)(evidence)?)))?;
            let sentence = sentence.map(|sentence| sentence(evidence));
            Some((Cause { rule, summary: cause.summary, sentence }, cause.knobs))
        });
        let (because, remedies) = cause.map_or((None, Vec::new()), |(because, knobs)| (Some(because), knobs));
        let blind = blind.then_some("what netqueue itself missed (see the verdict netqueue_blind)");
        Some(Verdict {
            rule: self.id,
            title: self.title,
            subject: evidence.subject,
            owner: evidence.owner.clone(),
            window: evidence.window,
            impact: finding.impact,
            // A listener that is closed or accepts again may have reset clients just now.
            ongoing: evidence.goes_on() || finding.impact == Impact::Reset && evidence.is_recent(),
            affected: finding.affected,
            confidence,
            summary: finding.summary,
            clients_see: finding.clients_see,
            because,
            consequences: Vec::new(),
            evidence: finding.facts,
            counterfactual: evidence.counterfactual.clone(),
            advice: finding
                .advice
                .into_iter()
                .chain(self.advice.iter().map(|advice| (*advice).to_owned()))
                .collect(),
            knobs: [finding.knobs, remedies].concat(),
            check_next: self.check_next,
            missing: unmet().map(|need| need.missing()).chain(blind).collect(),
        })
    }
}
