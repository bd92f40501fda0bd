//! How well netqueue itself sees.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use super::{Census, Obstacle, by_name::ByName};

/// How programs are attached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AttachMode {
    /// kprobe at entry, kretprobe at return.
    Kprobe,
    /// fentry at entry, fexit at return.
    Fentry,
}

/// How programs are to be attached.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AttachWay {
    /// By fentry and fexit where the kernel has them for a function, else by kprobes.
    #[default]
    Auto,
    /// By fentry and fexit only.
    Fentry,
    /// By kprobes only.
    Kprobe,
}

impl AttachWay {
    /// What a user may call it.
    pub const EXPECTED: &str = "auto, fentry or kprobe";

    /// The way of that name.
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

/// What is observed of healthy connections, at a price for each of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Features {
    /// What goes through listeners at all: not in recordings from before it was.
    pub traffic: bool,
    /// How long the accept queue is whenever a connection enters it.
    pub queue_depth: bool,
    /// Who is accepted, and how long connections wait for it.
    pub accept_wait: bool,
}

impl Default for Features {
    fn default() -> Self {
        Self { traffic: true, queue_depth: true, accept_wait: true }
    }
}

impl Features {
    /// Nothing: as in a recording that does not tell what was observed.
    #[must_use]
    pub const fn untold() -> Self {
        Self { traffic: false, queue_depth: false, accept_wait: false }
    }
}

/// One program and whether it is attached.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProbeStatus {
    /// The program's name.
    pub program: Cow<'static, str>,
    /// The kernel function.
    pub function: Cow<'static, str>,
    /// `entry` or `return`.
    pub at: Cow<'static, str>,
    /// How it is attached.
    pub mode: AttachMode,
    /// Whether netqueue is not ready without it.
    pub required: bool,
    /// Whether it is attached.
    pub attached: bool,
    /// Why not, and what that costs; of an attached one, why not by fentry.
    pub detail: Option<String>,
    /// Runs the kernel says it skipped, where it says so.
    pub missed: Option<u64>,
}

/// Why an event or a charge is missing.
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
    /// There were too many connections in accept queues: one was forgotten, and will be missing among the accepted.
    QueuedForgotten,
    /// No baseline could be kept of a namespace's counters on one CPU: a charge may be missing.
    BaselinesFull,
    /// Code that no probe covers moved a counter: what cannot be told from that is charged to nobody.
    MovedElsewhere,
    /// Another tracer hid who called: the cause of a reset may be missing, counts are not.
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

/// Events from the kernel side to the store. `seen = submitted + suppressed + lost(RingFull)`, and, once the ring is
/// drained, `submitted = stored + lost(Undecodable)`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct EventFlow {
    /// Arose in the kernel.
    pub seen: u64,
    /// Put into the ring buffer.
    pub submitted: u64,
    /// Not sent, because their account had used up its allowance: events are missing, counts are not.
    pub suppressed: u64,
    /// Drops and resets of listeners and ports that found no slot: they are in their namespace's `other` bucket, and sums stay
    /// exact.
    pub folded: u64,
    /// Network namespaces made under an inode number that no generation is kept of.
    pub namespaces_untold: u64,
    /// Network namespaces whose last counts were not told.
    pub farewells_lost: u64,
    /// listen() calls of which nothing is known: their listeners' arguments are not, nor when they were made.
    pub listens_lost: u64,
    /// Lost, by reason.
    #[serde(with = "ByName::<LossReason>")]
    pub lost: [u64; LossReason::ALL.len()],
}

impl EventFlow {
    /// Lost for one reason.
    #[must_use]
    pub const fn lost(&self, reason: LossReason) -> u64 {
        self.lost[reason as usize]
    }
}

/// The kernel side's memory of handshakes whose final ACK was dropped.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct LedgerUse {
    /// How many it holds for certain.
    pub capacity: u64,
    /// How many were ever entered.
    pub entered: u64,
    /// How many of these are held, or were pushed out by newer ones.
    pub outstanding: u64,
    /// How many newer ones may have pushed out, at most: each is one that does not count as ended when it ends, and whose
    /// late packets look like stray ones.
    pub forgotten_at_most: u64,
}

impl LedgerUse {
    /// As it is when so many were ever entered and taken out again. Between two looks, those entered may all have come
    /// before the first was taken out.
    #[must_use]
    pub fn seen(self, entered: u64, struck: u64) -> Self {
        let most = self.outstanding + entered.saturating_sub(self.entered);
        let forgotten_at_most = self.forgotten_at_most.max(most.saturating_sub(self.capacity));
        Self { entered, outstanding: entered.saturating_sub(struck), forgotten_at_most, ..self }
    }

    /// Whether nothing was forgotten.
    #[must_use]
    pub const fn is_complete(&self) -> bool {
        self.forgotten_at_most == 0
    }
}

/// Rows of counts in the kernel side, of one kind.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct SlotUse {
    /// `listeners`, `endpoints` (ports nobody listens on) or `namespaces` (their `other` buckets).
    pub kind: Cow<'static, str>,
    /// How many there are. What finds none is charged to its namespace's `other` bucket.
    pub capacity: u64,
    /// How many are somebody's, or on their way back.
    pub used: u64,
    /// How often one was given back, to be another's.
    pub given_back: u64,
}

/// What netqueue says about itself.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Health {
    /// The programs.
    pub probes: Vec<ProbeStatus>,
    /// What is observed beyond drops and resets.
    #[serde(default = "Features::untold")]
    pub features: Features,
    /// Events and losses.
    pub flow: EventFlow,
    /// The kernel side's room for accounts.
    pub slots: Vec<SlotUse>,
    /// The ledger of handshakes.
    pub ledger: LedgerUse,
    /// The inventory of listeners.
    pub census: Census,
    /// Conditions of the machine that hide things from it.
    pub obstacles: Vec<Obstacle>,
    /// What it could not do, in words.
    pub warnings: Vec<String>,
    /// What may go wrong without being counted, as long as it is attached as it is.
    pub caveats: Vec<String>,
}

impl Health {
    /// What "per listener" leaves out, in a sentence, where it leaves out anything.
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

    /// What a recording says of itself that says nothing.
    #[must_use]
    pub fn untold() -> Self {
        Self { features: Features::untold(), ..Self::default() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_recording_that_does_not_tell_what_was_observed_is_not_taken_for_one_in_which_nothing_went_through() {
        let read = |text| serde_json::from_str::<Health>(text).map(|health| health.features);
        assert_eq!(read("{}").expect("health"), Features::untold());
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
    fn a_ledger_that_was_never_full_has_forgotten_nothing() {
        let ledger = LedgerUse { capacity: 100, ..LedgerUse::default() };
        let ledger = ledger.seen(90, 0).seen(150, 60);
        assert_eq!(
            (ledger.outstanding, ledger.is_complete()),
            (90, false),
            "all 60 may have come before one left"
        );
        let ledger =
            LedgerUse { capacity: 100, ..LedgerUse::default() }.seen(50, 0).seen(90, 80).seen(170, 160);
        assert_eq!((ledger.outstanding, ledger.is_complete()), (10, true));
    }

    #[test]
    fn what_was_forgotten_stays_said() {
        let ledger = LedgerUse { capacity: 100, ..LedgerUse::default() }.seen(130, 0).seen(130, 130);
        assert_eq!((ledger.outstanding, ledger.forgotten_at_most), (0, 30));
    }
}
