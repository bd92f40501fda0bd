//! How netqueue sees, and whether its sums add up.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// `/api/v1/status`.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Status {
    /// The daemon's version.
    pub version: String,
    /// The commit it was built from.
    #[serde(default)]
    pub revision: String,
    /// The compiler it was built with.
    #[serde(default)]
    pub rustc: String,
    /// Since when it counts, RFC 3339.
    pub attached: String,
    /// When this was taken, RFC 3339.
    pub taken: String,
    /// The inode number of the host's network namespace.
    #[serde(default)]
    pub host_netns_inode: u32,
    /// How programs are attached: one mode, or those in use joined by `+`, or `none`.
    pub mode: String,
    /// Each program.
    #[serde(default)]
    pub probes: Vec<Probe>,
    /// What may go wrong without being counted, as long as programs are attached as they are.
    #[serde(default)]
    pub caveats: Vec<String>,
    /// Conditions of the machine that keep netqueue from seeing what it should: cause and cure of each.
    #[serde(default)]
    pub obstacles: Vec<String>,
    /// The kernel's counters beside netqueue's, for each namespace that is compared.
    #[serde(default)]
    pub reconciliation: Vec<Reconciliation>,
    /// Namespaces in which something is charged and whose counters could not be compared.
    #[serde(default)]
    pub not_compared: Vec<NotCompared>,
    /// What looking for namespaces takes.
    #[serde(default)]
    pub namespace_search: NamespaceSearch,
    /// Events on their way to the store.
    #[serde(default)]
    pub events: EventFlow,
    /// What is held in memory.
    #[serde(default)]
    pub memory: Memory,
    /// The kernel side's room for accounts: `listeners`, `endpoints`, and `namespaces` for what finds no room there.
    #[serde(default)]
    pub slots: BTreeMap<String, Slots>,
    /// The memory of handshakes whose final ACK was dropped.
    #[serde(default)]
    pub ledger: Ledger,
    /// The event log on disk; null where there is none.
    #[serde(default)]
    pub event_log: Option<EventFiles>,
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

    /// Events and charges that are missing, for whatever reason.
    #[must_use]
    pub fn lost(&self) -> u64 {
        self.events.lost.values().sum()
    }
}

/// One program.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Probe {
    /// Its name.
    pub program: String,
    /// The kernel function.
    pub function: String,
    /// `entry` or `return`.
    #[serde(default)]
    pub at: String,
    /// How it is attached.
    #[serde(default)]
    pub mode: String,
    /// Whether netqueue is not ready without it.
    pub required: bool,
    /// Whether it is attached.
    pub attached: bool,
    /// Why not, and what that costs; or why not by fentry.
    #[serde(default)]
    pub detail: Option<String>,
    /// Runs the kernel skipped; null where it does not say.
    #[serde(default)]
    pub missed: Option<u64>,
}

/// One namespace's balance.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Reconciliation {
    /// Its name.
    pub netns: String,
    /// Its inode number.
    #[serde(default)]
    pub netns_inode: u32,
    /// Which of the namespaces that had the number.
    #[serde(default)]
    pub netns_generation: u32,
    /// `alive`, `ended` (kept until it was scraped twice), or `gone` (the sum of those that ended before).
    #[serde(default)]
    pub state: String,
    /// When it ended, RFC 3339.
    #[serde(default)]
    pub ended: Option<String>,
    /// From when on it is compared: `attach`, `birth`, or `first_look` at `compared_since`.
    #[serde(default)]
    pub compared_from: String,
    /// RFC 3339.
    #[serde(default)]
    pub compared_since: Option<String>,
    /// When its counters were read last, RFC 3339.
    #[serde(default)]
    pub read: String,
    /// Whether that was at its end, so that nothing is missing.
    #[serde(default)]
    pub last: bool,
    /// Whether every residual is 0.
    pub exact: bool,
    /// A residual up to this may hide: drops went on whenever the counters were read. 0 as soon as they rest.
    #[serde(default)]
    pub slack: u64,
    /// By counter.
    pub counters: BTreeMap<String, Balance>,
}

/// One counter's balance: `since_attach = attributed + residual`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Balance {
    /// The kernel's counter.
    pub kernel: u64,
    /// What it grew by since netqueue attached.
    pub since_attach: i64,
    /// What is charged to someone.
    pub attributed: i64,
    /// What is left over.
    pub residual: i64,
    /// What was attributed since the counters were read.
    #[serde(default)]
    pub charged_since: u64,
}

/// A namespace in which something is charged and whose counters could not be compared.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct NotCompared {
    /// Its name.
    pub netns: String,
    /// Its inode number.
    pub netns_inode: u32,
    /// Which of the namespaces that had the number.
    pub netns_generation: u32,
    /// `alive`, `ended` or `gone`.
    pub state: String,
    /// Why its counters could not be read.
    pub why: Option<String>,
    /// What is charged in it, by counter.
    pub charged: BTreeMap<String, u64>,
}

/// What looking for namespaces took so far, and the last time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct NamespaceSearch {
    /// How often.
    pub searches: u64,
    /// All of them together, in seconds of a CPU.
    pub seconds: f64,
    /// Processes looked at the last time.
    pub processes: u64,
    /// Threads looked at the last time.
    pub threads: u64,
    /// Those that could not be looked at.
    pub denied: u64,
}

/// Events on their way to the store.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct EventFlow {
    /// Arose in the kernel.
    pub seen: u64,
    /// Were put into the ring.
    pub submitted: u64,
    /// Were not, because their listener had used up its allowance.
    pub suppressed: u64,
    /// Reached the store.
    pub stored: u64,
    /// Events or charges that are missing, by reason.
    pub lost: BTreeMap<String, u64>,
    /// Drops and resets counted in a namespace's `other` bucket because their listener or port found no slot of its own; sums
    /// stay exact.
    pub folded: u64,
    /// Network namespaces made under an inode number that no generation is kept of.
    pub namespaces_untold: u64,
    /// listen() calls that could not be told: what those listeners asked for is not known, nor exactly since when they listen.
    #[serde(default)]
    pub listens_lost: u64,
    /// Network namespaces that ended and whose last counts were not told, too many having ended at once: the comparison of
    /// each is as old as its last look.
    pub farewells_lost: u64,
}

/// Accounts of one kind in the kernel side.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct Slots {
    /// For how many there is room.
    pub capacity: u64,
    /// How many are held.
    pub used: u64,
    /// How many were held and given up, their listener being closed or their port silent.
    pub given_back: u64,
}

/// The kernel side's memory of handshakes whose final ACK was dropped.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct Ledger {
    /// How many it holds for certain.
    pub capacity: u64,
    /// How many were ever entered.
    pub entered: u64,
    /// How many it holds, at most.
    pub held: u64,
    /// How many newer ones may have pushed out, at most: what became of those is not told, and they count as ghosts, or as
    /// unresolved, for ever.
    pub forgotten_at_most: u64,
    /// Whether none was.
    pub complete: bool,
}

/// What is held in memory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct Memory {
    /// Bytes of events.
    pub event_bytes: u64,
    /// Bytes of histories.
    pub history_bytes: u64,
}

/// The event log on disk (`--event-log`).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct EventFiles {
    /// Its folder.
    pub directory: String,
    /// Bytes it may take.
    pub limit_bytes: u64,
    /// Bytes it takes.
    pub bytes: u64,
    /// Files it is made of.
    pub segments: u64,
    /// The number of the oldest event in it; null while there is none.
    pub oldest: Option<u64>,
    /// Events of this run that are in it, or were.
    pub written: u64,
    /// Events of this run that are not, by reason: `behind` (the disk did not keep up), `unwritable`.
    pub missing: BTreeMap<String, u64>,
    /// Events this run deleted to stay within the limit.
    pub evicted: u64,
    /// Events of earlier runs that were read back when this one began: as many as memory holds.
    pub read_back: u64,
    /// Bytes of earlier runs that could not be understood: cut off at an end, or damaged.
    pub unreadable_bytes: u64,
}
