//! Drops, resets, SYN cookies, ghosts and queue lengths of each listener.

use std::collections::BTreeMap;

use netqueue_domain::{Counts, DropCause, DropKind, KernelCounter, QueueState, Queues};

use super::{
    family::{Family, Lines, Scraped, count},
    series::{LABELS, Series},
    text::Kind,
};

static DROPS: Family<6> = Family {
    name: "netqueue_listen_drops_total",
    help: "SYNs and ACKs a listener dropped, as the kernel counts ListenDrops, by cause and stage of the handshake.",
    kind: Kind::Counter,
    labels: ["netns", "addr", "port", "process", "cause", "stage"],
};

static RESETS: Family<5> = Family {
    name: "netqueue_resets_sent_total",
    help: "Resets sent from this address and port, as the kernel counts OutRsts, by cause.",
    kind: Kind::Counter,
    labels: ["netns", "addr", "port", "process", "cause"],
};

static COOKIES_SENT: Family<4> = Family {
    name: "netqueue_syncookies_sent_total",
    help: "SYN-ACKs sent with a SYN cookie instead of an entry in the SYN queue (SyncookiesSent).",
    kind: Kind::Counter,
    labels: LABELS,
};

static COOKIES_RECEIVED: Family<4> = Family {
    name: "netqueue_syncookies_received_total",
    help: "ACKs with a valid SYN cookie (SyncookiesRecv).",
    kind: Kind::Counter,
    labels: LABELS,
};

static COOKIES_FAILED: Family<4> = Family {
    name: "netqueue_syncookies_failed_total",
    help: "ACKs without a valid SYN cookie that reached a listener which was sending cookies (SyncookiesFailed).",
    kind: Kind::Counter,
    labels: LABELS,
};

static GHOSTS: Family<4> = Family {
    name: "netqueue_ghost_connections_total",
    help: "Clients that consider themselves connected while the listener has no state: it dropped the ACK that returned their SYN cookie. Each client counts once.",
    kind: Kind::Counter,
    labels: LABELS,
};

static GHOSTS_LIVE: Family<4> = Family {
    name: "netqueue_ghost_connections_live",
    help: "Clients of netqueue_ghost_connections_total that have not sent anything since: neither admitted nor reset.",
    kind: Kind::Gauge,
    labels: LABELS,
};

static HELPER_OVERFLOWS: Family<4> = Family {
    name: "netqueue_syncookie_helper_overflows_total",
    help: "Calls of the BPF SYN-cookie helper (bpf_tcp_gen_syncookie) that found the accept queue full: counted in ListenOverflows, not in ListenDrops.",
    kind: Kind::Counter,
    labels: LABELS,
};

static ACCEPT_LENGTH: Family<4> = Family {
    name: "netqueue_accept_queue_length",
    help: "Connections waiting for accept() at the scrape; of a SO_REUSEPORT group, the fullest member.",
    kind: Kind::Gauge,
    labels: LABELS,
};

static ACCEPT_LIMIT: Family<4> = Family {
    name: "netqueue_accept_queue_limit",
    help: "Backlog in force; the accept queue holds one connection more.",
    kind: Kind::Gauge,
    labels: LABELS,
};

static SYN_LENGTH: Family<4> = Family {
    name: "netqueue_syn_queue_length",
    help: "Handshakes in progress at the scrape; of a SO_REUSEPORT group, the fullest member.",
    kind: Kind::Gauge,
    labels: LABELS,
};

static SYN_LIMIT: Family<4> = Family {
    name: "netqueue_syn_queue_limit",
    help: "Handshakes in progress at which the SYN queue is full.",
    kind: Kind::Gauge,
    labels: LABELS,
};

static SPIKE: Family<5> = Family {
    name: "netqueue_spike_active",
    help: "Drop spikes that are under way, by cause; those of a whole namespace have no port and cause=\"any\".",
    kind: Kind::Gauge,
    labels: ["netns", "addr", "port", "process", "cause"],
};

/// Returns the families that every series has.
pub(super) fn families() -> Vec<Scraped> {
    let gauge = |family: &'static Family<4>, value: fn(&Queues) -> Option<u32>| {
        family.of_series(move |_, series, lines| {
            if let Some(value) = value(&series.queues) {
                lines.sample(series, [], f64::from(value));
            }
        })
    };
    let number = |family: &'static Family<4>, number: fn(&Counts) -> u64| {
        family.of_series(move |_, series, lines| {
            let number = number(&series.counts);
            if number > 0 || series.listener {
                lines.sample(series, [], count(number));
            }
        })
    };
    vec![
        DROPS.of_series(|_, series, lines| drops(series, lines)),
        number(&COOKIES_SENT, |counts| counts.kernel().get(KernelCounter::SyncookiesSent)),
        number(&COOKIES_RECEIVED, |counts| counts.kernel().get(KernelCounter::SyncookiesRecv)),
        number(&COOKIES_FAILED, |counts| counts.kernel().get(KernelCounter::SyncookiesFailed)),
        HELPER_OVERFLOWS.of_series(|_, series, lines| {
            let number = series.counts.helper_overflows();
            if number > 0 {
                lines.sample(series, [], count(number));
            }
        }),
        number(&GHOSTS, |counts| counts.handshakes().ghosts),
        number(&GHOSTS_LIVE, |counts| counts.handshakes().live_ghosts()),
        RESETS.of_series(|_, series, lines| resets(series, lines)),
        gauge(&ACCEPT_LENGTH, |queues| queues.accept.map(length)),
        gauge(&ACCEPT_LIMIT, |queues| queues.accept.map(limit)),
        gauge(&SYN_LENGTH, |queues| queues.syn.map(length)),
        gauge(&SYN_LIMIT, |queues| queues.syn.map(limit)),
        SPIKE.of_series(|_, series, lines| spikes(series, lines)),
    ]
}

/// Writes every kind of drop that occurred.
/// For a listener, the commonest one is there from the start, so that rate() sees its first increment.
fn drops(series: &Series, lines: &mut Lines<'_>) {
    let of = |(kind, number): (DropKind, u64)| (kind.cause().as_str(), kind.stage().as_str(), number);
    let shown = |(kind, number): &(DropKind, u64)| {
        *number > 0 || series.listener && *kind == DropKind::AcceptQueueFullSyn
    };
    let mut shown: Vec<_> = series.counts.drops().filter(shown).map(of).collect();
    shown.sort_unstable();
    for (cause, stage, number) in shown {
        lines.sample(series, [cause, stage], count(number));
    }
}

/// Writes every cause that recently had a spike; for a listener, the commonest one from the start.
fn spikes(series: &Series, lines: &mut Lines<'_>) {
    let common = series.listener.then_some((DropCause::AcceptQueueFull.as_str(), 0));
    let mut shown: BTreeMap<_, _> = common.into_iter().collect();
    shown.extend(series.spikes.iter().map(|(cause, active)| (cause.as_str(), *active)));
    shown.extend(series.namespace_spikes.map(|active| ("any", active)));
    for (cause, active) in shown {
        lines.sample(series, [cause], count(active));
    }
}

fn resets(series: &Series, lines: &mut Lines<'_>) {
    let happened = series.counts.resets().filter(|(_, number)| *number > 0);
    let mut happened: Vec<_> = happened.map(|(cause, number)| (cause.as_str(), number)).collect();
    happened.sort_unstable();
    for (cause, number) in happened {
        lines.sample(series, [cause], count(number));
    }
}

const fn length(queue: QueueState) -> u32 {
    queue.length
}

const fn limit(queue: QueueState) -> u32 {
    queue.limit
}
