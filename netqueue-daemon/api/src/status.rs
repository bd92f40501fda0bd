//! Response of `/api/v1/status`: whether netqueue sees everything, and whether its sums equal the
//! kernel's.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Response of `/api/v1/status`.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Status {
    /// Version of the daemon.
    pub version: String,
    /// Commit from which the daemon was built.
    #[serde(default)]
    pub revision: String,
    /// Compiler with which the daemon was built.
    #[serde(default)]
    pub rustc: String,
    /// Time since when the daemon counts, RFC 3339.
    pub attached: String,
    /// Time of the snapshot, RFC 3339.
    pub taken: String,
    /// Inode number of the host's network namespace.
    #[serde(default)]
    pub host_netns_inode: u32,
    /// Modes in which programs are attached, joined by `+`; `none` if no program is attached.
    pub mode: String,
    /// Programs of the kernel side, one entry per kernel function.
    #[serde(default)]
    pub probes: Vec<Probe>,
    /// Limitations that go uncounted as long as programs are attached in this way.
    #[serde(default)]
    pub caveats: Vec<String>,
    /// Conditions of the machine that hide drops, resets or listeners; each with cause and remedy.
    #[serde(default)]
    pub obstacles: Vec<String>,
    /// Comparison of the kernel's counters with what is charged, for each network namespace compared.
    #[serde(default)]
    pub reconciliation: Vec<Reconciliation>,
    /// Network namespaces with charges whose kernel counters could not be compared.
    #[serde(default)]
    pub not_compared: Vec<NotCompared>,
    /// Cost of the search for network namespaces.
    #[serde(default)]
    pub namespace_search: NamespaceSearch,
    /// Flow of events from the kernel to the event store, and losses on the way.
    #[serde(default)]
    pub events: EventFlow,
    /// Memory in use.
    #[serde(default)]
    pub memory: Memory,
    /// Slots of the kernel side by kind: `listeners`, `endpoints`, and `namespaces` for the `other`
    /// buckets.
    #[serde(default)]
    pub slots: BTreeMap<String, Slots>,
    /// Cache of handshakes whose final ACK was dropped.
    #[serde(default)]
    pub dropped_ack_cache: DroppedAckCache,
    /// Event log on disk; null if there is none.
    #[serde(default)]
    pub event_log: Option<EventFiles>,
}

impl Status {
    /// Returns whether every required program is attached.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        !self.probes.is_empty() && self.probes.iter().all(|probe| probe.attached || !probe.required)
    }

    /// Returns whether every residual is 0.
    #[must_use]
    pub fn is_exact(&self) -> bool {
        self.reconciliation.iter().all(|balance| balance.exact)
    }

    /// Returns the number of events and charges that were lost, for whatever reason.
    #[must_use]
    pub fn lost(&self) -> u64 {
        self.events.lost.values().sum()
    }
}

/// One program at one kernel function.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Probe {
    /// Name of the program.
    pub program: String,
    /// Kernel function to which it is attached.
    pub function: String,
    /// Place in the function: `entry` or `return`.
    #[serde(default)]
    pub at: String,
    /// Mode in which it is attached, such as `fentry` or `kprobe`.
    #[serde(default)]
    pub mode: String,
    /// True if the daemon cannot run without it.
    pub required: bool,
    /// True if it is attached.
    pub attached: bool,
    /// Reason why it is not attached and the consequence, or why it is not attached by fentry; else null.
    #[serde(default)]
    pub detail: Option<String>,
    /// Number of runs that the kernel skipped; null if the kernel does not report it.
    #[serde(default)]
    pub missed: Option<u64>,
}

/// Comparison of one network namespace: the kernel's counters and what is charged.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Reconciliation {
    /// Name of the network namespace.
    pub netns: String,
    /// Inode number of the network namespace.
    #[serde(default)]
    pub netns_inode: u32,
    /// Generation, which distinguishes network namespaces that had the same inode number.
    #[serde(default)]
    pub netns_generation: u32,
    /// State: `alive`, `ended` (kept until two scrapes have shown it), or `gone` (the sum of those that
    /// ended before).
    #[serde(default)]
    pub state: String,
    /// Time when the network namespace ended, RFC 3339; null while it exists.
    #[serde(default)]
    pub ended: Option<String>,
    /// Start of the comparison: `attach`, `birth`, or `first_look` at `compared_since`.
    #[serde(default)]
    pub compared_from: String,
    /// Time of the first comparison, RFC 3339; null unless `compared_from` is `first_look`.
    #[serde(default)]
    pub compared_since: Option<String>,
    /// Time when the kernel's counters were last read, RFC 3339.
    #[serde(default)]
    pub read: String,
    /// True if that was at the end of the network namespace, so that nothing is missing.
    #[serde(default)]
    pub last: bool,
    /// True if every residual is 0.
    pub exact: bool,
    /// Largest residual that may go unnoticed, because drops went on whenever the counters were read.
    /// 0 once two readings have found the counters at rest.
    #[serde(default)]
    pub slack: u64,
    /// Comparison of each counter, by the counter's name.
    pub counters: BTreeMap<String, Balance>,
}

/// Comparison of one counter: `since_attach = attributed + residual`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Balance {
    /// Value of the kernel's counter.
    pub kernel: u64,
    /// Increase since the start of the comparison.
    pub since_attach: i64,
    /// Part of that increase that is charged to accounts.
    pub attributed: i64,
    /// Part of that increase that is not; negative if more was charged than the kernel counted.
    pub residual: i64,
    /// Charges since the kernel's counters were last read.
    #[serde(default)]
    pub charged_since: u64,
}

/// Network namespace with charges whose kernel counters could not be compared.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct NotCompared {
    /// Name of the network namespace.
    pub netns: String,
    /// Inode number of the network namespace.
    pub netns_inode: u32,
    /// Generation, which distinguishes network namespaces that had the same inode number.
    pub netns_generation: u32,
    /// State: `alive`, `ended` or `gone`.
    pub state: String,
    /// Reason why the kernel's counters could not be read; null if unknown.
    pub why: Option<String>,
    /// Charges by counter.
    pub charged: BTreeMap<String, u64>,
}

/// Cost of the search for network namespaces.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct NamespaceSearch {
    /// Number of searches.
    pub searches: u64,
    /// CPU time of all searches, in seconds.
    pub seconds: f64,
    /// Processes examined in the last search.
    pub processes: u64,
    /// Threads examined in addition in the last search.
    pub threads: u64,
    /// Processes and threads that the last search had no permission to examine.
    pub denied: u64,
}

/// Flow of events from the kernel to the event store.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct EventFlow {
    /// Number of events that arose in the kernel.
    pub seen: u64,
    /// Number of events put into the ring buffer.
    pub submitted: u64,
    /// Number of events not sent because their account had exceeded its rate limit.
    pub suppressed: u64,
    /// Number of events that reached the event store.
    pub stored: u64,
    /// Number of lost events or charges, by reason.
    pub lost: BTreeMap<String, u64>,
    /// Drops and resets counted in an `other` bucket because no slot was free for their listener or port.
    /// Sums stay exact.
    pub folded: u64,
    /// Network namespaces with an inode number beyond those tracked.
    /// Such namespaces are not distinguished from others that have the number before or after them.
    pub netns_untracked: u64,
    /// Calls of listen() that came too fast to be recorded.
    /// The argument of these calls and the time since when those listeners listen are unknown.
    #[serde(default)]
    pub listens_lost: u64,
    /// Network namespaces that ended without a final comparison, because too many ended at once.
    /// The last comparison of each dates from the last reading of its counters.
    pub netns_final_counters_lost: u64,
}

/// Slots of one kind in the kernel side, each of which counts for one account.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct Slots {
    /// Number of slots.
    pub capacity: u64,
    /// Number of slots in use.
    pub used: u64,
    /// Number of slots that were freed because their listener was closed or their port fell silent.
    pub given_back: u64,
}

/// Cache in which the kernel side remembers handshakes whose final ACK was dropped.
/// When it is full, new entries evict old ones, whose outcome then stays unknown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct DroppedAckCache {
    /// Number of entries that it takes without evicting any.
    pub capacity: u64,
    /// Number of handshakes ever entered.
    pub entered: u64,
    /// Upper bound of the entries in the cache.
    pub held: u64,
    /// Upper bound of the entries evicted by newer ones; they stay live ghosts or unresolved handshakes for
    /// ever.
    pub forgotten_at_most: u64,
    /// True if no entry was evicted.
    pub complete: bool,
}

/// Memory in use.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct Memory {
    /// Bytes taken by events.
    pub event_bytes: u64,
    /// Bytes taken by the histories of accounts.
    pub history_bytes: u64,
}

/// Event log on disk (`--event-log`).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct EventFiles {
    /// Path of its directory.
    pub directory: String,
    /// Largest size in bytes (`--event-log-size`).
    pub limit_bytes: u64,
    /// Size in bytes.
    pub bytes: u64,
    /// Number of files.
    pub segments: u64,
    /// Sequence number of its oldest event; null if it has none.
    pub oldest: Option<u64>,
    /// Number of events written in this run, including those evicted since.
    pub written: u64,
    /// Number of events of this run that are missing from it, by reason: `behind` (the disk was too slow)
    /// or `unwritable`.
    pub missing: BTreeMap<String, u64>,
    /// Number of events deleted in this run to stay within the limit.
    pub evicted: u64,
    /// Number of events of earlier runs that were read back at the start, as many as memory takes.
    pub read_back: u64,
    /// Bytes of earlier runs that are unreadable: cut off at the end, or damaged.
    pub unreadable_bytes: u64,
}
