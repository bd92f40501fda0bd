//! The API's answers as a client reads them: what it does not know it ignores, what is missing is unknown.

use std::{collections::BTreeMap, net::IpAddr};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::socket::{Socket, Traffic};

pub use crate::model::{Diagnosis, Knob, Process, Spike, Subject, Verdict};

/// An answer, understood and as it was.
#[derive(Clone, Debug)]
pub struct Answer<T> {
    /// Understood.
    pub envelope: Envelope<T>,
    /// As the daemon wrote it.
    pub raw: Value,
}

/// What stands around every answer.
#[derive(Clone, Debug, Deserialize)]
pub struct Envelope<T> {
    /// The answer.
    pub data: T,
    /// What the daemon wants known beside it.
    #[serde(default)]
    pub warnings: Vec<String>,
    /// The window of events held.
    #[serde(default)]
    pub coverage: Coverage,
}

/// The window of events that is held, and what is missing in it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Coverage {
    /// From when on.
    pub since: String,
    /// When the picture the answer is from was taken, RFC 3339.
    pub taken: String,
    /// Held.
    pub events_held: u64,
    /// Not held any more.
    pub events_evicted: u64,
    /// Never arrived.
    pub events_lost: u64,
}

/// A refusal.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Problem {
    /// What was wrong and what would be right.
    pub error: String,
    /// The kind of mistake.
    #[serde(default)]
    pub error_type: String,
    /// The parameter at fault.
    #[serde(default)]
    pub parameter: Option<String>,
}

impl Problem {
    /// Whether the daemon has nothing at that path, as opposed to no such listener.
    pub(super) fn is_unknown_path(&self) -> bool {
        self.error.starts_with("there is nothing at")
    }
}

/// The one member of a status that every version has.
#[derive(Clone, Debug, Deserialize)]
pub struct Version {
    /// The daemon's version.
    pub version: String,
}

/// `/api/v1/listeners`.
#[derive(Clone, Debug, Deserialize)]
pub struct Listeners {
    /// One row for each account.
    pub listeners: Vec<Listener>,
}

/// One account: a listener, an endpoint without one, a pool of client ports, or a bucket of what did not fit.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct Listener {
    /// Its name for as long as the daemon runs.
    pub id: String,
    /// `listener`, `endpoint`, `ephemeral` or `other`.
    pub kind: String,
    /// The namespace's name.
    pub netns: String,
    /// Its address, where it has one.
    pub addr: Option<IpAddr>,
    /// Its port, where it has one.
    pub port: Option<u16>,
    /// The owner's name; empty while unknown.
    #[serde(default)]
    pub process: String,
    /// What is known of the socket; null for what is no listener, or has not been found.
    #[serde(default)]
    pub listener: Option<Socket>,
    /// What went through it, where that is told.
    #[serde(default)]
    pub traffic: Option<Traffic>,
    /// Connections waiting for accept().
    pub accept_queue: Option<Queue>,
    /// Handshakes in progress.
    pub syn_queue: Option<Queue>,
    /// SYNs and ACKs dropped.
    pub drops: Total,
    /// Resets sent.
    pub resets: Total,
    /// What became of handshakes whose final ACK was dropped.
    #[serde(default)]
    pub handshakes: Handshakes,
    /// Clients that believe they are connected.
    #[serde(default)]
    pub ghosts: Ghosts,
    /// The parts of the kernel's counters.
    #[serde(default)]
    pub counters: BTreeMap<String, u64>,
    /// When it was first charged.
    #[serde(default)]
    pub first_seen: Option<String>,
    /// When its counts last moved.
    #[serde(default)]
    pub last_seen: Option<String>,
}

/// Length and limit of a queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub struct Queue {
    /// Entries.
    pub length: u32,
    /// The setting it is compared with; an accept queue holds one more.
    pub limit: u32,
}

/// A total and its split.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub struct Total {
    /// All of them.
    pub total: u64,
    /// Split by cause, only those that happened.
    pub by_cause: Vec<Part>,
}

/// A part of a total.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Part {
    /// Why.
    pub cause: String,
    /// Where in the handshake; resets have none.
    #[serde(default)]
    pub stage: Option<String>,
    /// How often.
    pub count: u64,
}

/// Handshakes whose final ACK was dropped while the listener kept the request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Handshakes {
    /// So many.
    pub suspended: u64,
    /// Let in by a later ACK.
    pub recovered: u64,
    /// Ended by a reset.
    pub ended: u64,
    /// Given up by the client.
    pub given_up: u64,
    /// Given up by the listener.
    pub timed_out: u64,
    /// Of those last: answered with a reset later.
    pub expired: u64,
    /// Not heard of since.
    pub unresolved: u64,
}

/// Clients that believe they are connected and of which the listener knows nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Ghosts {
    /// Still.
    pub live: u64,
    /// Ever.
    pub total: u64,
    /// Let in after all.
    pub recovered: u64,
    /// Answered with a reset.
    pub ended: u64,
}

/// `/api/v1/events`.
#[derive(Clone, Debug, Deserialize)]
pub struct Events {
    /// Newest first.
    pub events: Vec<Event>,
}

/// One drop or reset.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct Event {
    /// Its place in the sequence of all events.
    pub seq: u64,
    /// When, RFC 3339.
    pub time: String,
    /// `drop` or `reset`.
    pub kind: String,
    /// The id of the account charged.
    pub listener: Option<String>,
    /// The namespace's name.
    pub netns: String,
    /// The local address.
    pub addr: Option<IpAddr>,
    /// The local port.
    pub port: Option<u16>,
    /// The owner's name; empty while unknown.
    #[serde(default)]
    pub process: String,
    /// The other end.
    pub peer: Option<Peer>,
    /// Where in the handshake.
    pub stage: Option<String>,
    /// Why.
    pub cause: String,
    /// The kernel's own reason, where it has one.
    #[serde(default)]
    pub kernel_reason: Option<String>,
    /// The accept queue at that moment.
    pub accept_queue: Option<Queue>,
    /// The SYN queue at that moment.
    pub syn_queue: Option<Queue>,
    /// For a reset of an expired handshake: seconds since its final ACK was dropped.
    #[serde(default)]
    pub age_seconds: Option<f64>,
}

/// The other end of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub struct Peer {
    /// Its address.
    pub addr: IpAddr,
    /// Its port.
    pub port: u16,
}

/// `/api/v1/status`.
#[derive(Clone, Debug, Deserialize)]
pub struct Status {
    /// The daemon's version.
    pub version: String,
    /// Since when it counts.
    pub attached: String,
    /// When this was taken.
    pub taken: String,
    /// How programs are attached.
    pub mode: String,
    /// Each program.
    #[serde(default)]
    pub probes: Vec<Probe>,
    /// What may go wrong without being counted.
    #[serde(default)]
    pub caveats: Vec<String>,
    /// What keeps netqueue from seeing what it should.
    #[serde(default)]
    pub obstacles: Vec<String>,
    /// The kernel's counters against netqueue's, by namespace.
    #[serde(default)]
    pub reconciliation: Vec<Reconciliation>,
    /// Events on their way to the store.
    #[serde(default)]
    pub events: EventFlow,
    /// The kernel side's room for accounts, by kind.
    #[serde(default)]
    pub slots: BTreeMap<String, Slots>,
}

/// One program.
#[derive(Clone, Debug, Deserialize)]
pub struct Probe {
    /// Its name.
    pub program: String,
    /// The kernel function.
    pub function: String,
    /// Whether netqueue is not ready without it.
    pub required: bool,
    /// Whether it is attached.
    pub attached: bool,
    /// Why not, and what that costs.
    #[serde(default)]
    pub detail: Option<String>,
    /// Runs the kernel skipped.
    #[serde(default)]
    pub missed: Option<u64>,
}

/// One namespace's balance.
#[derive(Clone, Debug, Deserialize)]
pub struct Reconciliation {
    /// Its name.
    pub netns: String,
    /// Whether every residual is 0.
    pub exact: bool,
    /// By counter.
    pub counters: BTreeMap<String, Balance>,
}

/// One counter's balance.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Balance {
    /// The kernel's counter.
    pub kernel: u64,
    /// What it grew by since netqueue attached.
    pub since_attach: i64,
    /// What netqueue charged to someone.
    pub attributed: i64,
    /// What is left over.
    pub residual: i64,
}

/// Events on their way to the store.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct EventFlow {
    /// Arose in the kernel.
    pub seen: u64,
    /// Reached the store.
    pub stored: u64,
    /// Did not, by reason.
    pub lost: BTreeMap<String, u64>,
    /// Drops and resets counted in a bucket because their listener or port found no slot.
    pub folded: u64,
}

/// The kernel side's room for accounts of one kind.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Slots {
    /// How many there are.
    pub capacity: u64,
    /// How many are somebody's.
    pub used: u64,
}

impl Status {
    /// Whether every required program is attached.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        !self.probes.is_empty() && self.probes.iter().all(|probe| probe.attached || !probe.required)
    }

    /// Whether every residual is 0.
    #[must_use]
    pub fn is_exact(&self) -> bool {
        self.reconciliation.iter().all(|balance| balance.exact)
    }

    /// Events that arose and are not in the store.
    #[must_use]
    pub fn lost(&self) -> u64 {
        self.events.lost.values().sum()
    }
}
