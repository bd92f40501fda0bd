//! How well netqueue itself sees: probes, events, losses, the build.

use std::collections::BTreeMap;

use super::family::{Family, Kind, Scraped, count};
use crate::build_info::BuildInfo;
use netqueue_domain::{JournalState, LossReason, ProbeStatus, SlotUse, Snapshot};

const ATTACHED: Family<2> = Family {
    name: "netqueue_probe_attached",
    help: "Whether a program is attached to its kernel function.",
    kind: Kind::Gauge,
    labels: ["probe", "mode"],
};

const MISSED: Family<2> = Family {
    name: "netqueue_probe_missed_total",
    help: "Runs of a program the kernel says it skipped, where it says so.",
    kind: Kind::Counter,
    labels: ["probe", "mode"],
};

const EVENTS: Family<1> = Family {
    name: "netqueue_events_total",
    help: "Drops and resets counted exactly, whether or not their event could be kept.",
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
    help: "Events that arrived and were kept, if only for a while.",
    kind: Kind::Counter,
    labels: [],
};

const SUPPRESSED: Family<0> = Family {
    name: "netqueue_events_suppressed_total",
    help: "Events not sent because their listener had used up its allowance (--event-rate, --event-burst); counts stay exact.",
    kind: Kind::Counter,
    labels: [],
};

const LOST: Family<1> = Family {
    name: "netqueue_events_lost_total",
    help: "Events or charges that are missing, by reason; ring_full and undecodable leave every count exact.",
    kind: Kind::Counter,
    labels: ["reason"],
};

const FOLDED: Family<0> = Family {
    name: "netqueue_charges_folded_total",
    help: "Drops and resets counted under port=\"other\" because their listener or port found no slot; sums stay exact.",
    kind: Kind::Counter,
    labels: [],
};

const LISTENS_LOST: Family<0> = Family {
    name: "netqueue_listen_calls_lost_total",
    help: "listen() calls that came too fast to be told: what those listeners asked for is not known; no count is concerned.",
    kind: Kind::Counter,
    labels: [],
};

const SLOTS: Family<1> = Family {
    name: "netqueue_slots",
    help: "Accounts the kernel side has room for; what finds none goes to port=\"other\".",
    kind: Kind::Gauge,
    labels: ["kind"],
};

const SLOTS_USED: Family<1> = Family {
    name: "netqueue_slots_used",
    help: "Accounts the kernel side holds.",
    kind: Kind::Gauge,
    labels: ["kind"],
};

const SLOTS_GIVEN_BACK: Family<1> = Family {
    name: "netqueue_slots_given_back_total",
    help: "Accounts the kernel side held and gave up, their listener being closed or their port silent; no count is lost.",
    kind: Kind::Counter,
    labels: ["kind"],
};

const LEDGER: Family<0> = Family {
    name: "netqueue_ledger_capacity",
    help: "Handshakes whose final ACK was dropped that can be remembered.",
    kind: Kind::Gauge,
    labels: [],
};

const LEDGER_USED: Family<0> = Family {
    name: "netqueue_ledger_entries",
    help: "Handshakes whose final ACK was dropped that are remembered, at most.",
    kind: Kind::Gauge,
    labels: [],
};

const LEDGER_FORGOTTEN: Family<0> = Family {
    name: "netqueue_ledger_forgotten_total",
    help: "Remembered handshakes that newer ones may have pushed out, at most; their end is not counted.",
    kind: Kind::Counter,
    labels: [],
};

const UNTOLD: Family<0> = Family {
    name: "netqueue_namespaces_untold_total",
    help: "Network namespaces made under an inode number that no generation is kept of: not told from others that have it.",
    kind: Kind::Counter,
    labels: [],
};

const UNHEARD: Family<0> = Family {
    name: "netqueue_namespace_farewells_lost_total",
    help: "Network namespaces that ended without a last comparison, too many having ended at once; counts stay exact.",
    kind: Kind::Counter,
    labels: [],
};

const LOG_BYTES: Family<1> = Family {
    name: "netqueue_event_log_bytes",
    help: "Bytes of the event log on disk: those it takes, and the limit; both 0 where there is none.",
    kind: Kind::Gauge,
    labels: ["what"],
};

const LOG_EVENTS: Family<1> = Family {
    name: "netqueue_event_log_events_total",
    help: "Events by what became of them in the event log on disk: written, evicted later to stay within the limit, or \
           missing because it was behind or could not be written.",
    kind: Kind::Counter,
    labels: ["outcome"],
};

const BUILD: Family<3> = Family {
    name: "netqueue_build_info",
    help: "What this netqueue was built from; always 1.",
    kind: Kind::Gauge,
    labels: ["version", "revision", "rustc"],
};

const SINCE: Family<0> = Family {
    name: "netqueue_attached_timestamp_seconds",
    help: "Since when netqueue has been counting, in seconds since the epoch.",
    kind: Kind::Gauge,
    labels: [],
};

/// The families on netqueue itself.
pub(super) fn families(snapshot: &Snapshot, build: BuildInfo) -> Vec<Scraped> {
    let probes = by_probe(&snapshot.health.probes);
    let labels = |&(probe, mode): &(&str, &str)| [probe.to_owned(), mode.to_owned()];
    let flow = &snapshot.health.flow;
    let ledger = &snapshot.health.ledger;
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
        LEDGER.with([([], count(ledger.capacity))]),
        LEDGER_USED.with([([], count(ledger.outstanding.min(ledger.capacity)))]),
        LEDGER_FORGOTTEN.with([([], count(ledger.forgotten_at_most))]),
        UNTOLD.with([([], count(flow.namespaces_untold))]),
        UNHEARD.with([([], count(flow.farewells_lost))]),
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

/// What is known of a program that may have been attached at several places.
struct Probe {
    attached: bool,
    missed: Option<u64>,
}

/// Probes by program and mode: a program attached at several places counts as attached if it is at all of them.
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
