//! A rule: what it needs to know, when it speaks, and what it says. Rules are data; the table is in `rules/`.

use super::{Because, Confidence, Evidence, Fact, Harm, Knob, Verdict};

/// One rule.
pub struct Rule {
    /// Its name; with hyphens, that of its runbook.
    pub id: &'static str,
    /// What is the matter, in one line.
    pub title: &'static str,
    /// What it rests on. What is not known makes it less sure, and is said.
    pub needs: &'static [Need],
    /// Whether it applies, and how: pure.
    pub judge: fn(&Evidence) -> Option<Finding>,
    /// Rules one of which is its cause, where it is a consequence: the first that speaks too. What they would set is what
    /// helps here as well.
    pub causes: &'static [&'static Rule],
    /// What to do, whatever the numbers.
    pub advice: &'static [&'static str],
    /// What to look at next.
    pub check_next: &'static [&'static str],
}

/// What a rule found in the evidence.
#[derive(Clone, Debug)]
pub struct Finding {
    /// What it does to clients.
    pub harm: Harm,
    /// How many.
    pub affected: u64,
    /// How sure it would be if everything it needs were known.
    pub confidence: Confidence,
    /// What happened here, with the numbers.
    pub summary: String,
    /// What clients saw.
    pub clients_see: String,
    /// The numbers.
    pub facts: Vec<Fact>,
    /// Advice that depends on the numbers; it comes before the rule's own.
    pub advice: Vec<String>,
    /// What to set.
    pub knobs: Vec<Knob>,
}

/// A kind of evidence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    /// How many connections came and were accepted.
    Flow,
    /// Which clients were refused.
    Refusals,
    /// The backlog in force and what decides it.
    Limit,
    /// The process that listens.
    Owner,
    /// tcp_abort_on_overflow.
    AbortOnOverflow,
    /// tcp_syncookies.
    Syncookies,
    /// tcp_synack_retries.
    SynackRetries,
    /// How long idle connections are kept.
    IdleLimit,
    /// Who sent the packets.
    Peers,
}

impl Need {
    fn is_met(self, evidence: &Evidence) -> bool {
        match self {
            Self::Flow => evidence.flow.is_some(),
            Self::Refusals => evidence.counterfactual.is_some(),
            Self::Limit => evidence.backlog.is_some() && evidence.bound_by.is_some(),
            Self::Owner => evidence.owner.is_some(),
            Self::AbortOnOverflow => evidence.settings.abort_on_overflow.is_some(),
            Self::Syncookies => evidence.settings.syncookies.is_some(),
            Self::SynackRetries => evidence.settings.synack_retries.is_some(),
            Self::IdleLimit => evidence.idle_limit.is_some(),
            Self::Peers => !evidence.peers.is_empty(),
        }
    }

    /// What is missing, in words.
    const fn missing(self) -> &'static str {
        match self {
            Self::Flow => "how many connections came and were accepted",
            Self::Refusals => "which clients were refused, and when",
            Self::Limit => "the backlog in force and which setting decides it",
            Self::Owner => "the process that listens",
            Self::AbortOnOverflow => "tcp_abort_on_overflow in that namespace",
            Self::Syncookies => "tcp_syncookies in that namespace",
            Self::SynackRetries => "tcp_synack_retries in that namespace",
            Self::IdleLimit => "how long the server keeps idle connections",
            Self::Peers => "who sent the packets",
        }
    }

    /// Whether a verdict is less sure without it; a name alone changes nothing.
    const fn weighs(self) -> bool {
        match self {
            Self::Flow | Self::Refusals | Self::IdleLimit => true,
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
    /// The verdict, where the rule applies.
    #[must_use]
    pub fn apply(&self, evidence: &Evidence) -> Option<Verdict> {
        let finding = (self.judge)(evidence)?;
        let unmet = || self.needs.iter().filter(|need| !need.is_met(evidence));
        let blind = evidence.sight.is_impaired() && self.id != super::BLIND;
        let doubts = unmet().filter(|need| need.weighs()).count() + usize::from(blind);
        let confidence = (0..doubts).fold(finding.confidence, |confidence, _| confidence.lower());
        let cause = self.causes.iter().find_map(|rule| Some((rule.id, (rule.judge)(evidence)?)));
        let (because, remedies) = match cause {
            Some((rule, cause)) => (Some(Because { rule, summary: cause.summary }), cause.knobs),
            None => (None, Vec::new()),
        };
        let blind = blind.then_some("what netqueue itself missed: see the verdict netqueue_blind");
        Some(Verdict {
            rule: self.id,
            title: self.title,
            subject: evidence.subject,
            owner: evidence.owner.clone(),
            window: evidence.window,
            harm: finding.harm,
            affected: finding.affected,
            confidence,
            summary: finding.summary,
            clients_see: finding.clients_see,
            because,
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
