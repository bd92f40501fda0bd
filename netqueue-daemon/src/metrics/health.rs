//! Metrics on netqueue itself: probes, events, losses, slots, event log, build.

use std::collections::BTreeMap;

use netqueue_domain::{JournalState, LossReason, ProbeStatus, SlotUse, Snapshot};

use super::{
    family::{Family, Scraped, count},
    text::Kind,
};
use crate::build_info::BuildInfo;

const ATTACHED: Family<2> = Family {
    name: "netqueue_probe_attached",
    help: "Whether a program is attached to its kernel function.",
    kind: Kind::Gauge,
    labels: ["probe", "mode"],
};

const MISSED: Family<2> = Family {
    name: "netqueue_probe_missed_total",
    help: "Runs of a program that the kernel skipped, where the kernel counts them.",
    kind: Kind::Counter,
    labels: ["probe", "mode"],
};

const EVENTS: Family<1> = Family {
    name: "netqueue_events_total",
    help: "Drops and resets, counted whether or not their event was kept.",
    kind: Kind::Counter,
    labels: ["kind"],
};

const SEEN: Family<0> = Family {
    name: "netqueue_events_seen_total",
    help: "Events that arose in the kernel; equals those delivered, suppressed, and lost as ring_full or undecodable.",
    kind: Kind::Counter,
    labels: [],
};

const DELIVERED: Family<0> = Family {
    name: "netqueue_events_delivered_total",
    help: "Events that reached the event store; it may have evicted them since.",
    kind: Kind::Counter,
    labels: [],
};

const SUPPRESSED: Family<0> = Family {
    name: "netqueue_events_suppressed_total",
    help: "Events suppressed by the rate limit of their listener (--event-rate, --event-burst); counts stay exact.",
    kind: Kind::Counter,
    labels: [],
};

const LOST: Family<1> = Family {
    name: "netqueue_events_lost_total",
    help: "Events or counts that were lost, by reason; ring_full, undecodable and caller_hidden leave every count exact.",
    kind: Kind::Counter,
    labels: ["reason"],
};

const FOLDED: Family<0> = Family {
    name: "netqueue_charges_folded_total",
    help: "Drops and resets counted under port=\"other\" because no slot was free for their listener or port; sums stay exact.",
    kind: Kind::Counter,
    labels: [],
};

const LISTENS_LOST: Family<0> = Family {
    name: "netqueue_listen_calls_lost_total",
    help: "listen() calls that came too fast to be recorded: the backlog those programs asked for is unknown; counts are not affected.",
    kind: Kind::Counter,
    labels: [],
};

const SLOTS: Family<1> = Family {
    name: "netqueue_slots",
    help: "Listeners or ports for which the kernel side has a slot; beyond them everything is counted under port=\"other\".",
    kind: Kind::Gauge,
    labels: ["kind"],
};

const SLOTS_USED: Family<1> = Family {
    name: "netqueue_slots_used",
    help: "Slots of the kernel side in use.",
    kind: Kind::Gauge,
    labels: ["kind"],
};

const SLOTS_GIVEN_BACK: Family<1> = Family {
    name: "netqueue_slots_given_back_total",
    help: "Slots freed because their listener was closed or their port fell silent; no count is lost.",
    kind: Kind::Counter,
    labels: ["kind"],
};

const CACHE_CAPACITY: Family<0> = Family {
    name: "netqueue_dropped_ack_cache_capacity",
    help: "Capacity of the cache of handshakes whose final ACK was dropped (--dropped-ack-cache-capacity).",
    kind: Kind::Gauge,
    labels: [],
};

const CACHE_USED: Family<0> = Family {
    name: "netqueue_dropped_ack_cache_entries",
    help: "Upper bound of the entries in the cache of handshakes whose final ACK was dropped.",
    kind: Kind::Gauge,
    labels: [],
};

const CACHE_FORGOTTEN: Family<0> = Family {
    name: "netqueue_dropped_ack_cache_forgotten_total",
    help: "Upper bound of the handshakes evicted from the cache by newer ones; their outcome is not counted.",
    kind: Kind::Counter,
    labels: [],
};

const UNTOLD: Family<0> = Family {
    name: "netqueue_netns_untracked_total",
    help: "Network namespaces whose inode number is beyond those tracked: not distinguished from an earlier namespace with the same number.",
    kind: Kind::Counter,
    labels: [],
};

const UNHEARD: Family<0> = Family {
    name: "netqueue_netns_final_counters_lost_total",
    help: "Network namespaces that ended without a final comparison because too many ended at once; counts stay exact.",
    kind: Kind::Counter,
    labels: [],
};

const LOG_BYTES: Family<1> = Family {
    name: "netqueue_event_log_bytes",
    help: "Size and limit of the event log on disk; both 0 without an event log.",
    kind: Kind::Gauge,
    labels: ["what"],
};

const LOG_EVENTS: Family<1> = Family {
    name: "netqueue_event_log_events_total",
    help: "Events written to the event log on disk, evicted from it to stay within its limit, or missing because the disk was too slow or not writable.",
    kind: Kind::Counter,
    labels: ["outcome"],
};

const BUILD: Family<3> = Family {
    name: "netqueue_build_info",
    help: "Version, revision and compiler of this netqueue; always 1.",
    kind: Kind::Gauge,
    labels: ["version", "revision", "rustc"],
};

const SINCE: Family<0> = Family {
    name: "netqueue_attached_timestamp_seconds",
    help: "Time netqueue began to count, in seconds since the epoch.",
    kind: Kind::Gauge,
    labels: [],
};

/// Returns the families on netqueue itself.
pub(super) fn families(snapshot: &Snapshot, build: BuildInfo) -> Vec<Scraped> {
    let probes = by_probe(&snapshot.health.probes);
    let labels = |&(probe, mode): &(&str, &str)| [probe.to_owned(), mode.to_owned()];
    let flow = &snapshot.health.flow;
    let dropped_ack_cache = &snapshot.health.dropped_ack_cache;
    let slots = |value: fn(&SlotUse) -> u64| {
        snapshot.health.slots.iter().map(move |slot| ([slot.kind.clone().into_owned()], count(value(slot))))
    };
    let drops = snapshot.accounts.iter().map(|account| account.counts.drop_total()).sum();
    let resets = snapshot.accounts.iter().map(|account| account.counts.reset_total()).sum();
    vec![
        ATTACHED.with(probes.iter().map(|(key, probe)| (labels(key), f64::from(u8::from(probe.attached))))),
        MISSED.with(probes.iter().filter_map(|(key, probe)| Some((labels(key), count(probe.missed?))))),
        EVENTS.with([("drop", drops), ("reset", resets)].map(|(kind, sum)| ([kind.to_owned()], count(sum)))),
        SEEN.with([([], count(flow.seen))]),
        DELIVERED.with([([], count(snapshot.events.appended() - snapshot.events.before_this_run()))]),
        SUPPRESSED.with([([], count(flow.suppressed))]),
        LOST.with(LossReason::ALL.map(|reason| ([reason.as_str().to_owned()], count(flow.lost(reason))))),
        FOLDED.with([([], count(flow.folded))]),
        LISTENS_LOST.with([([], count(flow.listens_lost))]),
        SLOTS.with(slots(|slot| slot.capacity)),
        SLOTS_USED.with(slots(|slot| slot.used)),
        SLOTS_GIVEN_BACK.with(slots(|slot| slot.given_back)),
        CACHE_CAPACITY.with([([], count(dropped_ack_cache.capacity))]),
        CACHE_USED.with([([], count(dropped_ack_cache.outstanding.min(dropped_ack_cache.capacity)))]),
        CACHE_FORGOTTEN.with([([], count(dropped_ack_cache.forgotten_at_most))]),
        UNTOLD.with([([], count(flow.netns_untracked))]),
        UNHEARD.with([([], count(flow.netns_final_counters_lost))]),
        LOG_BYTES.with(log_bytes(snapshot)),
        LOG_EVENTS.with(log_events(snapshot)),
        BUILD.with([([build.version, build.revision, build.rustc].map(str::to_owned), 1.0)]),
        SINCE.with([([], snapshot.wall_clock.show(snapshot.attached).as_secs_f64())]),
    ]
}

fn log_bytes(snapshot: &Snapshot) -> [([String; 1], f64); 2] {
    let (used, limit) = snapshot.journal.as_ref().map_or((0, 0), |journal| (journal.bytes, journal.limit));
    [("used", used), ("limit", limit)].map(|(what, bytes)| ([what.to_owned()], count(bytes)))
}

fn log_events(snapshot: &Snapshot) -> [([String; 1], f64); 4] {
    let none = JournalState::default();
    let JournalState { written, evicted, behind, unwritable, .. } =
        *snapshot.journal.as_ref().unwrap_or(&none);
    [("written", written), ("evicted", evicted), ("behind", behind), ("unwritable", unwritable)]
        .map(|(outcome, events)| ([outcome.to_owned()], count(events)))
}

/// State of a program that may be attached in several places.
struct Probe {
    attached: bool,
    missed: Option<u64>,
}

/// Merges probes by program and mode.
/// A program in several places counts as attached only if it is attached in all of them.
fn by_probe(probes: &[ProbeStatus]) -> BTreeMap<(&str, &str), Probe> {
    let mut merged = BTreeMap::new();
    for status in probes {
        let probe = merged
            .entry((status.program.as_ref(), status.mode.as_str()))
            .or_insert(Probe { attached: true, missed: None });
        probe.attached &= status.attached;
        if let Some(missed) = status.missed {
            *probe.missed.get_or_insert(0) += missed;
        }
    }
    merged
}
