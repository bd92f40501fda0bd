//! What each listener dropped, reset and held.

use std::collections::BTreeMap;

use super::{
    family::{Family, Kind, Scraped, count},
    series::{LABELS, Series},
};
use crate::domain::{Counts, DropCause, DropKind, KernelCounter, QueueState, Queues, Snapshot, SpikeScope};

const DROPS: Family<6> = Family {
    name: "netqueue_listen_drops_total",
    help: "SYNs and ACKs a listener dropped, as the kernel counts ListenDrops, by cause and stage of the handshake.",
    kind: Kind::Counter,
    labels: ["netns", "addr", "port", "process", "cause", "stage"],
};

const RESETS: Family<5> = Family {
    name: "netqueue_resets_sent_total",
    help: "Resets sent from this address and port, as the kernel counts OutRsts, by cause.",
    kind: Kind::Counter,
    labels: ["netns", "addr", "port", "process", "cause"],
};

const COOKIES_SENT: Family<4> = Family {
    name: "netqueue_syncookies_sent_total",
    help: "SYN-ACKs a listener sent with a cookie instead of an entry in its SYN queue, as the kernel counts SyncookiesSent.",
    kind: Kind::Counter,
    labels: LABELS,
};

const COOKIES_RECEIVED: Family<4> = Family {
    name: "netqueue_syncookies_received_total",
    help: "ACKs that brought a listener a valid cookie, as the kernel counts SyncookiesRecv.",
    kind: Kind::Counter,
    labels: LABELS,
};

const COOKIES_FAILED: Family<4> = Family {
    name: "netqueue_syncookies_failed_total",
    help: "ACKs that brought a listener no valid cookie while it was sending some, as the kernel counts SyncookiesFailed.",
    kind: Kind::Counter,
    labels: LABELS,
};

const GHOSTS: Family<4> = Family {
    name: "netqueue_ghost_connections_total",
    help: "Clients whose cookie ACK a listener dropped: they believe they are connected, it keeps nothing. Once per client.",
    kind: Kind::Counter,
    labels: LABELS,
};

const GHOSTS_LIVE: Family<4> = Family {
    name: "netqueue_ghost_connections",
    help: "Of these, the ones that have not spoken since: neither let in nor answered with a reset.",
    kind: Kind::Gauge,
    labels: LABELS,
};

const ACCEPT_LENGTH: Family<4> = Family {
    name: "netqueue_accept_queue_length",
    help: "Connections waiting for accept(), at the scrape while the listener lives; of a SO_REUSEPORT group the fullest member.",
    kind: Kind::Gauge,
    labels: LABELS,
};

const ACCEPT_LIMIT: Family<4> = Family {
    name: "netqueue_accept_queue_limit",
    help: "Backlog the accept queue is compared with; it holds one connection more.",
    kind: Kind::Gauge,
    labels: LABELS,
};

const SYN_LENGTH: Family<4> = Family {
    name: "netqueue_syn_queue_length",
    help: "Handshakes in progress, at the scrape while the listener lives; of a SO_REUSEPORT group the fullest member.",
    kind: Kind::Gauge,
    labels: LABELS,
};

const SYN_LIMIT: Family<4> = Family {
    name: "netqueue_syn_queue_limit",
    help: "Handshakes in progress at which the SYN queue is full.",
    kind: Kind::Gauge,
    labels: LABELS,
};

const SPIKE: Family<5> = Family {
    name: "netqueue_spike_active",
    help: "Sudden rises of drops that go on, by cause; those of a whole namespace have no port and cause=\"any\".",
    kind: Kind::Gauge,
    labels: ["netns", "addr", "port", "process", "cause"],
};

/// The families of these series.
pub(super) fn families(snapshot: &Snapshot, series: &[Series]) -> prometheus::Result<Vec<Scraped>> {
    let gauge = |family: &Family<4>, value: fn(&Queues) -> Option<u32>| {
        family.with(series.iter().filter_map(|series| {
            value(&series.queues).map(|value| (series.labels.clone(), f64::from(value)))
        }))
    };
    let number = |family: &Family<4>, number: &dyn Fn(&Counts) -> u64| {
        let number = |series: &Series| (number(&series.counts), series.listener);
        let shown = series
            .iter()
            .map(|series| (series, number(series)))
            .filter(|(_, (number, listener))| *number > 0 || *listener);
        family.with(shown.map(|(series, (number, _))| (series.labels.clone(), count(number))))
    };
    Ok(vec![
        DROPS.with(series.iter().flat_map(drops))?,
        number(&COOKIES_SENT, &|counts| counts.kernel().get(KernelCounter::SyncookiesSent))?,
        number(&COOKIES_RECEIVED, &|counts| counts.kernel().get(KernelCounter::SyncookiesRecv))?,
        number(&COOKIES_FAILED, &|counts| counts.kernel().get(KernelCounter::SyncookiesFailed))?,
        number(&GHOSTS, &|counts| counts.handshakes().ghosts)?,
        number(&GHOSTS_LIVE, &|counts| counts.handshakes().live_ghosts())?,
        RESETS.with(series.iter().flat_map(resets))?,
        gauge(&ACCEPT_LENGTH, |queues| queues.accept.map(length))?,
        gauge(&ACCEPT_LIMIT, |queues| queues.accept.map(limit))?,
        gauge(&SYN_LENGTH, |queues| queues.syn.map(length))?,
        gauge(&SYN_LIMIT, |queues| queues.syn.map(limit))?,
        SPIKE.with(series.iter().flat_map(spikes).chain(namespace_spikes(snapshot)))?,
    ])
}

/// Every kind that happened; and, for a listener, the commonest from the start, so that its first increment is a rate.
fn drops(series: &Series) -> impl Iterator<Item = ([String; 6], f64)> {
    let shown = |(kind, number): &(DropKind, u64)| {
        *number > 0 || series.listener && *kind == DropKind::AcceptQueueFullSyn
    };
    series.counts.drops().filter(shown).map(|(kind, number)| {
        let [netns, addr, port, process, cause] = series.labels_and(kind.cause().as_str());
        ([netns, addr, port, process, cause, kind.stage().as_str().to_owned()], count(number))
    })
}

/// Of a listener the commonest cause from the start, and whatever had a spike lately.
fn spikes(series: &Series) -> impl Iterator<Item = ([String; 5], f64)> {
    let mut spikes = series.spikes.clone();
    if series.listener {
        spikes.entry(DropCause::AcceptQueueFull).or_default();
    }
    spikes.into_iter().map(|(cause, active)| (series.labels_and(cause.as_str()), count(active)))
}

/// Of every namespace that is compared, and of those that had a spike lately.
fn namespace_spikes(snapshot: &Snapshot) -> impl Iterator<Item = ([String; 5], f64)> {
    let compared = snapshot.balances().map(|balance| (snapshot.netns_name(balance.netns), 0));
    let mut active: BTreeMap<_, _> = compared.collect();
    for spike in snapshot.spikes.iter() {
        if let SpikeScope::Namespace(netns) = spike.scope {
            *active.entry(snapshot.netns_name(netns)).or_default() += u64::from(spike.is_active());
        }
    }
    active.into_iter().map(|(netns, active)| {
        let none = String::new;
        ([netns, none(), none(), none(), "any".to_owned()], count(active))
    })
}

fn resets(series: &Series) -> impl Iterator<Item = ([String; 5], f64)> {
    let happened = series.counts.resets().filter(|(_, number)| *number > 0);
    happened.map(|(cause, number)| (series.labels_and(cause.as_str()), count(number)))
}

const fn length(queue: QueueState) -> u32 {
    queue.length
}

const fn limit(queue: QueueState) -> u32 {
    queue.limit
}
