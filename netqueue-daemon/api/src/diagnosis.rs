//! Verdicts: what is the matter, and what to do about it.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::Spike;

/// `/api/v1/diagnosis`.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Diagnosis {
    /// The time looked at.
    pub window: Window,
    /// The worst for clients first.
    pub verdicts: Vec<Verdict>,
    /// Sudden rises of drops in that time.
    #[serde(default)]
    pub spikes: Vec<Spike>,
}

/// A stretch of time.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Window {
    /// Its beginning, RFC 3339.
    pub start: String,
    /// Its end.
    pub end: String,
    /// Its length.
    pub seconds: f64,
}

/// One verdict.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Verdict {
    /// The rule that says so.
    pub rule: String,
    /// What is the matter, in one line.
    pub title: String,
    /// What it does to clients: `never_served`, `reset`, `delayed`, `unseen` or `absorbed`.
    pub harm: String,
    /// Clients, or packets where clients cannot be told apart.
    pub affected: u64,
    /// How sure it is: `high`, `medium` or `low`.
    pub confidence: String,
    /// What happened, with its numbers.
    pub summary: String,
    /// What clients saw.
    pub clients_see: String,
    /// Why it came to that: another verdict on the same subject is its cause.
    #[serde(default)]
    pub because: Option<Because>,
    /// Of what it speaks.
    pub subject: Subject,
    /// The numbers it rests on.
    #[serde(default)]
    pub evidence: Vec<Fact>,
    /// What would have helped; null where it was not worked out.
    #[serde(default)]
    pub counterfactual: Option<Counterfactual>,
    /// What to do.
    #[serde(default)]
    pub advice: Vec<String>,
    /// What to set.
    #[serde(default)]
    pub knobs: Vec<Knob>,
    /// What to look at next.
    #[serde(default)]
    pub check_next: Vec<String>,
    /// What is not known and would have made it surer.
    #[serde(default)]
    pub missing: Vec<String>,
    /// Where the runbook is, on this server.
    #[serde(default)]
    pub runbook: String,
    /// Where the events are, on this server; null where none belong to it.
    #[serde(default)]
    pub events: Option<String>,
}

/// The cause of a verdict: another one on the same subject.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Because {
    /// The rule that says so.
    pub rule: String,
    /// What happened.
    pub summary: String,
}

/// Of what a verdict speaks.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct Subject {
    /// `listener`, `endpoint`, `ephemeral`, `other`, `namespace` or `netqueue`.
    pub kind: String,
    /// The account's id, see `/api/v1/listeners`.
    pub listener: Option<String>,
    /// The namespace's name; null where it speaks of netqueue itself.
    pub netns: Option<String>,
    /// The namespace's inode number.
    pub netns_inode: Option<u32>,
    /// Which of the namespaces that had the number.
    pub netns_generation: Option<u32>,
    /// The address, where there is one.
    #[schema(value_type = Option<String>)]
    pub addr: Option<IpAddr>,
    /// The port, where there is one.
    pub port: Option<u16>,
    /// The process that listens there, where it is known.
    pub process: Option<Process>,
}

/// A process.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Process {
    /// Its name.
    pub name: String,
    /// Its number.
    pub pid: u32,
    /// Its systemd unit, where it has one.
    pub unit: Option<String>,
}

/// A number a verdict rests on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Fact {
    /// Of what.
    pub name: String,
    /// How much.
    pub value: f64,
    /// In what.
    pub unit: String,
}

/// What would have helped.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Counterfactual {
    /// `backlog`: one would have been enough; `faster`: none would.
    pub remedy: String,
    /// The smallest backlog that would have avoided the drops.
    pub smallest_backlog: Option<u32>,
    /// The same with room for chance.
    pub proposed_backlog: Option<u32>,
    /// How long the last of such a queue would have waited.
    pub longest_wait_seconds: Option<f64>,
    /// Connections that arrived, where no backlog would have been enough.
    pub arrivals_per_second: Option<f64>,
    /// Connections that were accepted.
    pub accepts_per_second: Option<f64>,
    /// Clients that were turned away.
    pub clients_refused: u64,
    /// How sure it is.
    pub confidence: String,
    /// What was assumed.
    pub assumptions: Vec<String>,
}

/// Something that can be set.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Knob {
    /// What.
    pub name: String,
    /// How.
    pub set_by: String,
    /// To what it is set, where it is known.
    pub current: Option<String>,
    /// To what to set it.
    pub proposed: String,
}
