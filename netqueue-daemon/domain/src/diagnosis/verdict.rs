//! Verdict on an incident, with its confidence and advice.

use crate::{AccountId, AccountKey, Netns, Timestamp};

use super::{counterfactual::Counterfactual, evidence::ListeningProcess};

/// Impact of an incident on clients, the worst first. A raw count would rank backwards: a thousand
/// dropped SYNs may cost a second each, two ghosts may hang for ever.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Impact {
    /// Clients are never served: they hang, or time out.
    NeverServed,
    /// Clients see their connection reset.
    Reset,
    /// Clients are served after a second or more.
    Delayed,
    /// netqueue may not see everything.
    Unseen,
    /// No legitimate client noticed.
    Absorbed,
}

impl Impact {
    /// Returns the word for the impact, as the API has it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NeverServed => "never_served",
            Self::Reset => "reset",
            Self::Delayed => "delayed",
            Self::Unseen => "unseen",
            Self::Absorbed => "absorbed",
        }
    }

    /// Returns whether a client was harmed.
    #[must_use]
    pub const fn is_harm(self) -> bool {
        match self {
            Self::NeverServed | Self::Reset | Self::Delayed => true,
            Self::Unseen | Self::Absorbed => false,
        }
    }
}

/// Confidence in a verdict.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Confidence {
    /// A guess worth checking.
    Low,
    /// Likely.
    Medium,
    /// Supported by the kernel's own numbers.
    High,
}

impl Confidence {
    /// Returns the word for the confidence, as the API has it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Low => "low",
            Self::Medium => "medium",
            Self::High => "high",
        }
    }

    /// Returns the next lower confidence, or the lowest.
    #[must_use]
    pub const fn lower(self) -> Self {
        match self {
            Self::High => Self::Medium,
            Self::Medium | Self::Low => Self::Low,
        }
    }
}

/// Number that supports a verdict.
#[derive(Clone, Debug, PartialEq)]
pub struct Fact {
    /// Name of the quantity.
    pub name: &'static str,
    /// Value of the quantity.
    pub value: f64,
    /// Unit of the value: `packets`, `clients`, `1/s`, `s` ...
    pub unit: &'static str,
}

/// Setting that can be changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Knob {
    /// Name, as a user would search for it.
    pub name: String,
    /// Place and method of the setting, and the step that brings it into force.
    pub set_by: String,
    /// Current value, if known.
    pub current: Option<String>,
    /// Proposed value.
    pub proposed: String,
}

/// Subject of a verdict.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Subject {
    /// A listener, or a local address and port.
    Account(AccountId, AccountKey),
    /// Many ports of one namespace.
    Namespace(Netns),
    /// netqueue itself.
    Netqueue,
}

impl Subject {
    /// Returns the account, if the subject is one.
    #[must_use]
    pub const fn account(&self) -> Option<&AccountKey> {
        match self {
            Self::Account(_, key) => Some(key),
            Self::Namespace(_) | Self::Netqueue => None,
        }
    }

    /// Returns the namespace, if the subject is in one.
    #[must_use]
    pub const fn netns(&self) -> Option<Netns> {
        match self {
            Self::Account(_, key) => Some(key.netns()),
            Self::Namespace(netns) => Some(*netns),
            Self::Netqueue => None,
        }
    }
}

/// Cause of a verdict: another one on the same subject.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cause {
    /// Rule that found the cause.
    pub rule: &'static str,
    /// Summary of the cause.
    pub summary: String,
    /// Sentence for the verdict on the cause.
    /// `None` if both are about the same clients.
    pub sentence: Option<String>,
}

/// One verdict.
#[derive(Clone, Debug, PartialEq)]
pub struct Verdict {
    /// Rule that reached the verdict.
    pub rule: &'static str,
    /// Problem in one line.
    pub title: &'static str,
    /// Subject of the verdict.
    pub subject: Subject,
    /// Process that listens, if known.
    pub owner: Option<ListeningProcess>,
    /// Period that the verdict is about.
    pub window: (Timestamp, Timestamp),
    /// Impact on clients.
    pub impact: Impact,
    /// True if the incident goes on at the end of the period.
    pub ongoing: bool,
    /// Number of affected clients, or of packets if clients cannot be distinguished.
    pub affected: u64,
    /// Confidence in the verdict.
    pub confidence: Confidence,
    /// Summary of the incident in a sentence or two, with the numbers.
    pub summary: String,
    /// Symptoms that clients saw.
    pub clients_see: String,
    /// Cause, if another verdict on the same subject explains this one.
    pub because: Option<Cause>,
    /// Rules of the verdicts on the same subject that this one explains. They follow it, and its impact and
    /// number of clients include theirs.
    pub consequences: Vec<&'static str>,
    /// Numbers that support the verdict.
    pub evidence: Vec<Fact>,
    /// Change that would have helped, if it can be determined.
    pub counterfactual: Option<Counterfactual>,
    /// Advice on what to do.
    pub advice: Vec<String>,
    /// Settings to change.
    pub knobs: Vec<Knob>,
    /// Next things to check.
    pub check_next: &'static [&'static str],
    /// Evidence that is missing, some of which would have raised the confidence.
    pub missing: Vec<&'static str>,
}

impl Verdict {
    /// Returns the group that the verdict is sorted into: harm that goes on, harm that is over, and none.
    pub(super) const fn rank(&self) -> u8 {
        match (self.impact.is_harm(), self.ongoing) {
            (true, true) => 0,
            (true, false) => 1,
            (false, _) => 2,
        }
    }

    /// Returns the name of the verdict's runbook: deploy/runbooks/NAME.md.
    #[must_use]
    pub fn runbook(&self) -> String {
        self.rule.replace('_', "-")
    }
}
