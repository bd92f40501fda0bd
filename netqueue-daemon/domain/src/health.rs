//! State of netqueue itself: probes, losses, slots, and conditions that hide things from it.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use super::{Obstacle, ScanCost, TcpMemory, by_name::ByName};

/// Mechanism by which a program is attached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AttachMode {
    /// kprobe at entry, kretprobe at return.
    Kprobe,
    /// fentry at entry, fexit at return.
    Fentry,
}

/// Method by which programs are to be attached.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AttachWay {
    /// fentry and fexit where the kernel supports them for a function, else kprobes.
    #[default]
    Auto,
    /// fentry and fexit only.
    Fentry,
    /// kprobes only.
    Kprobe,
}

impl AttachWay {
    /// Accepted names, for error messages.
    pub const EXPECTED: &str = "auto, fentry or kprobe";

    /// Returns the method of this name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        match name {
            "auto" => Some(Self::Auto),
            "fentry" => Some(Self::Fentry),
            "kprobe" => Some(Self::Kprobe),
            _ => None,
        }
    }
}

impl AttachMode {
    /// The label value.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Kprobe => "kprobe",
            Self::Fentry => "fentry",
        }
    }
}

/// Observation of healthy connections, at a cost for each of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Features {
    /// Traffic through listeners; false for recordings that do not report their features.
    pub traffic: bool,
    /// Length of the accept queue at each arrival.
    pub queue_depth: bool,
    /// Accepted connections, and how long they waited.
    pub accept_wait: bool,
}

impl Default for Features {
    fn default() -> Self {
        Self { traffic: true, queue_depth: true, accept_wait: true }
    }
}

impl Features {
    /// Returns features of which none is on, for a recording that does not report any.
    #[must_use]
    pub const fn unreported() -> Self {
        Self { traffic: false, queue_depth: false, accept_wait: false }
    }
}

/// One program and its attachment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProbeStatus {
    /// Name of the program.
    pub program: Cow<'static, str>,
    /// Kernel function.
    pub function: Cow<'static, str>,
    /// `entry` or `return`.
    pub at: Cow<'static, str>,
    /// Mechanism of the attachment.
    pub mode: AttachMode,
    /// True if netqueue is not ready without the program.
    pub required: bool,
    /// True if the program is attached.
    pub attached: bool,
    /// Reason why it is not attached and the consequence, or why it is attached otherwise than by fentry.
    pub detail: Option<String>,
    /// Number of runs that the kernel skipped, if it counts them.
    pub missed: Option<u64>,
}

/// Reason why an event or a charge is missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[repr(usize)]
pub enum LossReason {
    /// The ring buffer was full: an event is missing, counts are not.
    RingFull,
    /// A record could not be decoded: an event is missing, counts are not.
    Undecodable,
    /// A kernel structure could not be read.
    Unreadable,
    /// A function's entry was not seen: a charge may be missing.
    EntryMissed,
    /// A function's return was not seen: a charge may be missing.
    ReturnMissed,
    /// A return did not match the entry on record: a charge may be missing.
    WrongFrame,
    /// Every map was full: a charge is missing.
    MapFull,
    /// The table of queued connections was full: one was forgotten and will not count as accepted.
    QueuedForgotten,
    /// No baseline could be kept of a namespace's counters on one CPU: a charge may be missing.
    BaselinesFull,
    /// Code without a probe moved a counter: increments of unclear origin are charged to nobody.
    MovedElsewhere,
    /// Another tracer hid the caller: the cause of a reset may be missing, counts are not.
    CallerHidden,
}

impl LossReason {
    /// Every reason, in index order.
    pub const ALL: [Self; 11] = [
        Self::RingFull,
        Self::Undecodable,
        Self::Unreadable,
        Self::EntryMissed,
        Self::ReturnMissed,
        Self::WrongFrame,
        Self::MapFull,
        Self::QueuedForgotten,
        Self::BaselinesFull,
        Self::MovedElsewhere,
        Self::CallerHidden,
    ];

    /// The label value.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::RingFull => "ring_full",
            Self::Undecodable => "undecodable",
            Self::Unreadable => "unreadable",
            Self::EntryMissed => "entry_missed",
            Self::ReturnMissed => "return_missed",
            Self::WrongFrame => "wrong_frame",
            Self::MapFull => "map_full",
            Self::QueuedForgotten => "queued_forgotten",
            Self::BaselinesFull => "baselines_full",
            Self::MovedElsewhere => "moved_elsewhere",
            Self::CallerHidden => "caller_hidden",
        }
    }
}

/// Flow of events from the kernel side to the event store.
/// `seen = submitted + suppressed + lost(RingFull)`, and, once the ring is drained,
/// `submitted = stored + lost(Undecodable)`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct EventFlow {
    /// Events that arose in the kernel.
    pub seen: u64,
    /// Events put into the ring buffer.
    pub submitted: u64,
    /// Events not sent because their account had used up its allowance; counts are not affected.
    pub suppressed: u64,
    /// Drops and resets whose listener or port found no slot. Sums stay exact, because the namespace's
    /// `other` bucket has them.
    pub folded: u64,
    /// Network namespaces made under an inode number of which no generation is kept.
    #[serde(alias = "namespaces_untold")]
    pub netns_untracked: u64,
    /// Network namespaces that ended without a report of their final counters.
    #[serde(alias = "farewells_lost")]
    pub netns_final_counters_lost: u64,
    /// Lost listen() calls: their listeners' arguments and times of opening are unknown.
    pub listens_lost: u64,
    /// Losses by reason.
    #[serde(with = "ByName::<LossReason>")]
    pub lost: [u64; LossReason::ALL.len()],
}

impl EventFlow {
    /// Returns the losses for one reason.
    #[must_use]
    pub const fn lost(&self, reason: LossReason) -> u64 {
        self.lost[reason as usize]
    }
}

/// Use of the kernel side's cache of handshakes whose final ACK was dropped.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct DroppedAckCacheUse {
    /// Number of handshakes that certainly fit.
    pub capacity: u64,
    /// Number of handshakes ever entered.
    pub entered: u64,
    /// Number of handshakes entered and not taken out: still in the cache, or evicted by newer ones.
    pub outstanding: u64,
    /// Upper bound of the handshakes that newer ones evicted. An evicted handshake does not count as ended
    /// when it ends, and its late packets seem to be stray ones.
    pub forgotten_at_most: u64,
}

impl DroppedAckCacheUse {
    /// Returns the use after so many handshakes were ever entered and taken out. Between two readings, all
    /// that entered may have come before the first was taken out.
    #[must_use]
    pub fn seen(self, entered: u64, struck: u64) -> Self {
        let most = self.outstanding + entered.saturating_sub(self.entered);
        let forgotten_at_most = self.forgotten_at_most.max(most.saturating_sub(self.capacity));
        Self { entered, outstanding: entered.saturating_sub(struck), forgotten_at_most, ..self }
    }

    /// Returns whether no handshake was evicted.
    #[must_use]
    pub const fn is_complete(&self) -> bool {
        self.forgotten_at_most == 0
    }
}

/// Slots of one kind, which are rows of counts in the kernel side.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct SlotUse {
    /// `listeners`, `endpoints` (ports nobody listens on) or `namespaces` (their `other` buckets).
    pub kind: Cow<'static, str>,
    /// Number of slots. An account without one is charged to its namespace's `other` bucket.
    pub capacity: u64,
    /// Number of slots in use, or on their way back.
    pub used: u64,
    /// Number of times that a slot was given back for another account.
    pub given_back: u64,
}

/// Report of netqueue on its own state.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Health {
    /// Programs and their attachment.
    pub probes: Vec<ProbeStatus>,
    /// Observation beyond drops and resets.
    #[serde(default = "Features::unreported")]
    pub features: Features,
    /// Events and losses.
    pub flow: EventFlow,
    /// Slots for accounts in the kernel side.
    pub slots: Vec<SlotUse>,
    /// Use of the cache of handshakes whose final ACK was dropped.
    #[serde(alias = "ledger")]
    pub dropped_ack_cache: DroppedAckCacheUse,
    /// Cost of the inventory of listeners.
    #[serde(alias = "census")]
    pub scans: ScanCost,
    /// Conditions of the machine that hide things from netqueue.
    pub obstacles: Vec<Obstacle>,
    /// Things that netqueue could not do, in words.
    pub warnings: Vec<String>,
    /// Things that may go wrong uncounted while the programs are attached as they are.
    pub caveats: Vec<String>,
    /// Use of the machine's limits on TCP; `None` if it cannot be read.
    #[serde(default)]
    pub tcp_memory: Option<TcpMemory>,
}

impl Health {
    /// Returns a sentence about charges folded into `other`, if there are any.
    #[must_use]
    pub fn folding(&self) -> Option<String> {
        let (folded, verb) = match self.flow.folded {
            0 => return None,
            1 => ("1 drop or reset".to_owned(), "is"),
            many => (format!("{many} drops and resets"), "are"),
        };
        let room = |kind| self.slots.iter().find(|slots| slots.kind == kind);
        let use_of = |kind, what| {
            room(kind).map(|SlotUse { used, capacity, .. }| format!("{used} of {capacity} {what} in use"))
        };
        let uses: Vec<_> =
            [use_of("listeners", "slots for listeners"), use_of("endpoints", "slots for ports without one")]
                .into_iter()
                .flatten()
                .collect();
        let uses = if uses.is_empty() { String::new() } else { format!(" ({} now)", uses.join(", ")) };
        Some(format!(
            "{folded} {verb} counted under port=\"other\" because their listeners or ports found no slot of their own{uses}; sums \
             stay exact; --max-listeners makes more room"
        ))
    }

    /// Returns the health assumed for a recording that does not report any.
    #[must_use]
    pub fn unreported() -> Self {
        Self { features: Features::unreported(), ..Self::default() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_recording_that_does_not_tell_what_was_observed_is_not_taken_for_one_in_which_nothing_went_through() {
        let read = |text| serde_json::from_str::<Health>(text).map(|health| health.features);
        assert_eq!(read("{}").expect("health"), Features::unreported());
        let told = read(r#"{"features":{"queue_depth":true,"accept_wait":false}}"#).expect("health");
        assert_eq!(told, Features { accept_wait: false, ..Features::default() });
    }

    #[test]
    fn what_is_folded_is_said_once_and_in_full() {
        let slots =
            |kind: &'static str, used| SlotUse { kind: kind.into(), capacity: 1024, used, given_back: 0 };
        let health = |folded| Health {
            flow: EventFlow { folded, ..EventFlow::default() },
            slots: vec![slots("listeners", 1024), slots("endpoints", 3)],
            ..Health::default()
        };
        assert_eq!(health(0).folding(), None);
        assert_eq!(
            health(1).folding().expect("it is said"),
            "1 drop or reset is counted under port=\"other\" because their listeners or ports found no slot of their own (1024 of 1024 \
             slots for listeners in use, 3 of 1024 slots for ports without one in use now); sums stay exact; --max-listeners makes \
             more room"
        );
        assert!(health(2).folding().is_some_and(|said| said.starts_with("2 drops and resets are counted")));
    }

    #[test]
    fn a_cache_that_was_never_full_has_forgotten_nothing() {
        let dropped_ack_cache = DroppedAckCacheUse { capacity: 100, ..DroppedAckCacheUse::default() };
        let dropped_ack_cache = dropped_ack_cache.seen(90, 0).seen(150, 60);
        assert_eq!(
            (dropped_ack_cache.outstanding, dropped_ack_cache.is_complete()),
            (90, false),
            "all 60 may have come before one left"
        );
        let dropped_ack_cache = DroppedAckCacheUse { capacity: 100, ..DroppedAckCacheUse::default() }
            .seen(50, 0)
            .seen(90, 80)
            .seen(170, 160);
        assert_eq!((dropped_ack_cache.outstanding, dropped_ack_cache.is_complete()), (10, true));
    }

    #[test]
    fn what_was_forgotten_stays_said() {
        let dropped_ack_cache =
            DroppedAckCacheUse { capacity: 100, ..DroppedAckCacheUse::default() }.seen(130, 0).seen(130, 130);
        assert_eq!((dropped_ack_cache.outstanding, dropped_ack_cache.forgotten_at_most), (0, 30));
    }
}
