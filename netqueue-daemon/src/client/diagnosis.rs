//! Verdicts as a client reads them.

use std::net::IpAddr;

use serde::Deserialize;

/// `/api/v1/diagnosis`.
#[derive(Clone, Debug, Deserialize)]
pub struct Diagnosis {
    /// The worst for clients first.
    pub verdicts: Vec<Verdict>,
}

/// One verdict.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct Verdict {
    /// The rule that says so.
    pub rule: String,
    /// What is the matter, in one line.
    pub title: String,
    /// What it does to clients, in one word.
    pub harm: String,
    /// How many clients.
    pub affected: u64,
    /// How sure it is.
    pub confidence: String,
    /// What happened.
    pub summary: String,
    /// What clients saw.
    pub clients_see: String,
    /// Why it came to that.
    #[serde(default)]
    pub because: Option<Because>,
    /// Of what.
    pub subject: Subject,
    /// What to do.
    #[serde(default)]
    pub advice: Vec<String>,
    /// What to set.
    #[serde(default)]
    pub knobs: Vec<Knob>,
    /// What to look at next.
    #[serde(default)]
    pub check_next: Vec<String>,
    /// What would have made it surer.
    #[serde(default)]
    pub missing: Vec<String>,
    /// Where its runbook is.
    #[serde(default)]
    pub runbook: String,
}

/// The cause of a verdict: another one on the same subject.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Because {
    /// The rule that says so.
    pub rule: String,
    /// What happened.
    pub summary: String,
}

/// Of what a verdict speaks.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct Subject {
    /// `listener`, `endpoint`, `namespace`, `netqueue` ..
    pub kind: String,
    /// The account's id.
    pub listener: Option<String>,
    /// The namespace's name.
    pub netns: Option<String>,
    /// The address.
    pub addr: Option<IpAddr>,
    /// The port.
    pub port: Option<u16>,
    /// The process that listens there.
    pub process: Option<Process>,
}

/// A process.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Process {
    /// Its name.
    pub name: String,
    /// Its number.
    pub pid: u32,
    /// Its systemd unit.
    pub unit: Option<String>,
}

/// Something that can be set.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Knob {
    /// What.
    pub name: String,
    /// How.
    pub set_by: String,
    /// To what it is set.
    pub current: Option<String>,
    /// To what to set it.
    pub proposed: String,
}
