//! Response of `/api/v1/diagnosis`: verdicts with evidence, impact and advice.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{Beside, Impact, Spike};

/// Response of `/api/v1/diagnosis`.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Diagnosis {
    /// Period that the verdicts cover.
    pub window: Window,
    /// Verdicts, the worst for clients first.
    pub verdicts: Vec<Verdict>,
    /// Sudden rises of drops in that period, or still going on.
    #[serde(default)]
    pub spikes: Vec<Spike>,
    /// Listeners and network namespaces that were looked at; null if the daemon does not report them.
    #[serde(default)]
    pub scope: Option<Scope>,
    /// Kernel counters that moved in that period in the network namespaces asked for, and that netqueue
    /// does not attribute. Without verdicts they are the reason why silence is no all-clear.
    #[serde(default)]
    pub beside: Vec<Beside>,
}

/// Scope of the verdicts.
///
/// AF_UNIX sockets, packets that never arrived or that netfilter dropped, and the other end of connections
/// are never part of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Scope {
    /// Number of network namespaces that exist.
    pub namespaces: u64,
    /// Number of those whose kernel counters were compared with what was attributed.
    pub compared: u64,
    /// Number of open listeners.
    pub listeners: u64,
    /// Number of connections that wait for accept() now.
    pub waiting: u64,
    /// True if the time that connections wait is observed.
    pub waits_observed: bool,
    /// Reasons why netqueue sees nothing; empty if it sees.
    pub blind: Vec<String>,
}

/// Daemons before this field existed did not distinguish.
const fn yes() -> bool {
    true
}

/// Period of time.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Window {
    /// Start of the period, RFC 3339.
    pub start: String,
    /// End of the period, RFC 3339.
    pub end: String,
    /// Length of the period in seconds.
    pub seconds: f64,
}

/// One finding about an account, a network namespace or netqueue itself.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Verdict {
    /// Name of the rule that found it.
    pub rule: String,
    /// Headline in one line.
    pub title: String,
    /// Impact on clients: `never_served`, `reset`, `delayed`, `unseen` or `absorbed`.
    /// `unseen` means that netqueue may not see everything, `absorbed` that no legitimate client noticed.
    #[schema(value_type = String)]
    pub impact: Impact,
    /// True if the incident goes on at the end of the period; verdicts on what is over come below those.
    #[serde(default = "yes")]
    pub ongoing: bool,
    /// Number of clients affected; of packets, if clients cannot be distinguished.
    pub affected: u64,
    /// Confidence in the verdict: `high`, `medium` or `low`.
    pub confidence: String,
    /// Sentences that describe what happened, with the numbers.
    pub summary: String,
    /// Symptoms that clients see.
    pub clients_see: String,
    /// Another verdict on the same subject that is the cause of this one; null if there is none.
    #[serde(default)]
    pub because: Option<Cause>,
    /// Rules of the verdicts on the same subject that this one explains.
    /// They follow it in the list, and its impact and number of clients include theirs.
    #[serde(default)]
    pub consequences: Vec<String>,
    /// Subject of the verdict: an account, a network namespace or netqueue itself.
    pub subject: Subject,
    /// Numbers on which the verdict rests.
    #[serde(default)]
    pub evidence: Vec<Fact>,
    /// Change that would have avoided the drops; null if it was not computed.
    #[serde(default)]
    pub counterfactual: Option<Counterfactual>,
    /// Actions to take.
    #[serde(default)]
    pub advice: Vec<String>,
    /// Settings to change.
    #[serde(default)]
    pub knobs: Vec<Knob>,
    /// Further things to check.
    #[serde(default)]
    pub check_next: Vec<String>,
    /// Information that is missing and would have raised the confidence.
    #[serde(default)]
    pub missing: Vec<String>,
    /// Path of the runbook on this server.
    #[serde(default)]
    pub runbook: String,
    /// Path and query of the underlying events on this server; null for a verdict on netqueue itself.
    #[serde(default)]
    pub events: Option<String>,
}

impl Verdict {
    /// Returns whether `other` is a consequence of this verdict, whose text has its harm and its settings.
    #[must_use]
    pub fn explains(&self, other: &Self) -> bool {
        let because = other.because.as_ref().map(|because| because.rule.as_str());
        self.subject == other.subject
            && because == Some(self.rule.as_str())
            && self.consequences.contains(&other.rule)
    }
}

/// Verdict that is the cause of another one on the same subject.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Cause {
    /// Name of the rule that found it.
    pub rule: String,
    /// Sentences that describe what happened.
    pub summary: String,
}

/// Subject of a verdict: an account, a network namespace or netqueue itself.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct Subject {
    /// Kind: `listener`, `endpoint`, `ephemeral`, `other`, `namespace` or `netqueue`.
    pub kind: String,
    /// Id of the account, see `/api/v1/listeners`; null if the subject is not an account.
    pub listener: Option<String>,
    /// Name of the network namespace; null if the subject is netqueue itself.
    pub netns: Option<String>,
    /// Inode number of the network namespace.
    pub netns_inode: Option<u32>,
    /// Generation, which distinguishes network namespaces that had the same inode number.
    pub netns_generation: Option<u32>,
    /// Local address; null if the subject has none.
    #[schema(value_type = Option<String>)]
    pub addr: Option<IpAddr>,
    /// Local port; null if the subject has none.
    pub port: Option<u16>,
    /// Process that owns the listener; null if unknown.
    pub process: Option<ListeningProcess>,
}

/// Process that owns a listener.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ListeningProcess {
    /// Name of the process.
    pub name: String,
    /// Process id in the daemon's PID namespace.
    pub pid: u32,
    /// Systemd unit of the process; null if it has none or it is unknown.
    pub unit: Option<String>,
}

/// Number on which a verdict rests.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Fact {
    /// Name of the quantity, such as `backlog`.
    pub name: String,
    /// Value in `unit`.
    pub value: f64,
    /// Unit of the value, such as `connections`, `1/s` or `s`.
    pub unit: String,
}

/// Change that would have avoided the drops.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Counterfactual {
    /// `backlog`: a larger backlog would have sufficed.
    /// `faster`: none would have, the process has to accept faster.
    /// `unknown`: too early to tell a burst from an overload.
    pub remedy: String,
    /// Smallest backlog that would have avoided the drops; null unless `remedy` is `backlog`.
    pub smallest_backlog: Option<u32>,
    /// Backlog to set: the smallest one plus a margin; null unless `remedy` is `backlog`.
    pub proposed_backlog: Option<u32>,
    /// Seconds that the last connection of a queue of that length would have waited for accept().
    pub longest_wait_seconds: Option<f64>,
    /// Connections that arrived per second; null unless `remedy` is `faster`.
    pub arrivals_per_second: Option<f64>,
    /// Connections that were accepted per second; null unless `remedy` is `faster`.
    pub accepts_per_second: Option<f64>,
    /// Distinct clients that were refused.
    pub clients_refused: u64,
    /// Confidence in the computation: `high`, `medium` or `low`.
    pub confidence: String,
    /// Assumptions of the computation.
    pub assumptions: Vec<String>,
}

/// Setting to change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Knob {
    /// Name of the setting.
    pub name: String,
    /// Place where it is set, and what it takes for a change to become effective.
    pub set_by: String,
    /// Current value; null if unknown.
    pub current: Option<String>,
    /// Proposed value.
    pub proposed: String,
}
