//! What netqueue says of an incident: the verdict, how sure it is, and what to do.

use crate::{AccountId, AccountKey, Netns, Timestamp};

use super::{counterfactual::Counterfactual, evidence::Process};

/// What an incident does to clients, the worst first. A raw count would rank backwards: a thousand dropped SYNs may cost a
/// second each, two ghosts may hang for ever.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Harm {
    /// Clients are never served: they hang, or time out.
    NeverServed,
    /// Clients see their connection reset.
    Reset,
    /// Clients are served after a second or more.
    Delayed,
    /// netqueue may not see everything.
    Unseen,
    /// Nobody legitimate noticed.
    Absorbed,
}

impl Harm {
    /// The word for it.
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
}

/// How sure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Confidence {
    /// A guess worth checking.
    Low,
    /// Likely.
    Medium,
    /// The kernel's own numbers say so.
    High,
}

impl Confidence {
    /// The word for it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Low => "low",
            Self::Medium => "medium",
            Self::High => "high",
        }
    }

    /// One step less sure.
    #[must_use]
    pub const fn lower(self) -> Self {
        match self {
            Self::High => Self::Medium,
            Self::Medium | Self::Low => Self::Low,
        }
    }
}

/// A number a verdict rests on.
#[derive(Clone, Debug, PartialEq)]
pub struct Fact {
    /// What was counted or measured.
    pub name: &'static str,
    /// The number.
    pub value: f64,
    /// Of what: `packets`, `clients`, `1/s`, `s` ...
    pub unit: &'static str,
}

/// Something that can be set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Knob {
    /// Its name, as one would look for it.
    pub name: String,
    /// Where and how it is set, and what it takes to be in force.
    pub set_by: String,
    /// What it is set to, where that is known.
    pub current: Option<String>,
    /// What to set it to.
    pub proposed: String,
}

/// Of what a verdict speaks.
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
    /// The account, if it is one.
    #[must_use]
    pub const fn account(&self) -> Option<&AccountKey> {
        match self {
            Self::Account(_, key) => Some(key),
            Self::Namespace(_) | Self::Netqueue => None,
        }
    }

    /// The namespace, if it is in one.
    #[must_use]
    pub const fn netns(&self) -> Option<Netns> {
        match self {
            Self::Account(_, key) => Some(key.netns()),
            Self::Namespace(netns) => Some(*netns),
            Self::Netqueue => None,
        }
    }
}

/// The cause of a verdict: another one on the same subject.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Because {
    /// The rule that says so.
    pub rule: &'static str,
    /// What happened here.
    pub summary: String,
}

/// One verdict.
#[derive(Clone, Debug, PartialEq)]
pub struct Verdict {
    /// The rule that says so.
    pub rule: &'static str,
    /// What is the matter, in one line.
    pub title: &'static str,
    /// Of what.
    pub subject: Subject,
    /// The process that listens there, where it is known.
    pub owner: Option<Process>,
    /// The time looked at.
    pub window: (Timestamp, Timestamp),
    /// What it does to clients.
    pub harm: Harm,
    /// How many clients, as far as known; packets where clients cannot be told apart.
    pub affected: u64,
    /// How sure it is.
    pub confidence: Confidence,
    /// What happened here, in a sentence or two with the numbers.
    pub summary: String,
    /// What clients saw.
    pub clients_see: String,
    /// Why it came to that, where another verdict on the same subject is the cause of this one.
    pub because: Option<Because>,
    /// The numbers.
    pub evidence: Vec<Fact>,
    /// What would have helped, where that can be told.
    pub counterfactual: Option<Counterfactual>,
    /// What to do.
    pub advice: Vec<String>,
    /// What to set.
    pub knobs: Vec<Knob>,
    /// What to look at next.
    pub check_next: &'static [&'static str],
    /// What is not known and would have made it surer.
    pub missing: Vec<&'static str>,
}

impl Verdict {
    /// The name of its runbook: deploy/runbooks/NAME.md.
    #[must_use]
    pub fn runbook(&self) -> String {
        self.rule.replace('_', "-")
    }
}
