//! `/api/v1/status`: whether netqueue sees everything, and whether its sums equal the kernel's.

use axum::extract::State;
use netqueue_api::{
    Balance, DroppedAckCache, Envelope, EventFiles, EventFlow, Memory, NamespaceSearch, NotCompared, Probe,
    Problem as Refused, Reconciliation, Slots, Status,
};
use netqueue_domain::{
    CounterBalance, DroppedAckCacheUse, JournalState, LossReason, NamespaceBalance, NamespaceView, Netns,
    ProbeStatus, SearchCost, SlotUse, Snapshot, Start,
};

use super::{Api, answer::Answer, params::Params, problem::Problem, response_cache::CacheKey};
use crate::build_info::BuildInfo;

/// Visibility and exactness
///
/// Mode, probes, residuals, losses and memory: whether netqueue sees everything, and whether its sums equal
/// the kernel's.
#[utoipa::path(get, path = "/api/v1/status", tag = "query", responses(
    (status = 200, description = "Mode, probes, residuals, losses", content(
        (Envelope<Status> = "application/json"), (String = "application/x-ndjson"))),
    (status = 400, description = "There are parameters and none is known", body = Refused, content_type = "application/problem+json"),
    (status = 406, description = "Neither JSON nor NDJSON is accepted", body = Refused, content_type = "application/problem+json"),
    (status = 503, description = "Too many requests are being answered", body = Refused, content_type = "application/problem+json"),
))]
pub(super) async fn get(
    State(api): State<Api>,
    inquiry: CacheKey,
    params: Params,
) -> Result<Answer, Problem> {
    params.only(&[])?;
    let snapshot = api.snapshots.fresh().await;
    Ok(api.answers.once(&snapshot, inquiry, |form| {
        form.one(&snapshot, status_from(&snapshot, BuildInfo::THIS), Vec::new())
    }))
}

fn status_from(snapshot: &Snapshot, build: BuildInfo) -> Status {
    let (probes, clock) = (&snapshot.health.probes, snapshot.wall_clock);
    let compared = snapshot.balances();
    let uncompared = snapshot.namespaces.values().filter(|namespace| namespace.balance.is_none());
    Status {
        version: build.version.to_owned(),
        revision: build.revision.to_owned(),
        rustc: build.rustc.to_owned(),
        attached: clock.rfc3339(snapshot.attached),
        taken: clock.rfc3339(snapshot.taken),
        host_netns_inode: snapshot.host.inode,
        mode: mode(probes),
        probes: probes.iter().map(probe_from).collect(),
        caveats: snapshot.health.caveats.clone(),
        obstacles: snapshot.health.obstacles.iter().map(|one| one.sentence().to_owned()).collect(),
        reconciliation: compared.map(|balance| reconciliation_from(snapshot, balance)).collect(),
        not_compared: uncompared.map(not_compared_from).collect(),
        namespace_search: namespace_search_from(snapshot.search),
        events: event_flow_from(snapshot),
        memory: Memory {
            event_bytes: snapshot.events.bytes() as u64,
            history_bytes: snapshot.accounts.iter().map(|account| account.history.bytes() as u64).sum(),
        },
        slots: snapshot.health.slots.iter().map(slots_from).collect(),
        dropped_ack_cache: dropped_ack_cache_from(&snapshot.health.dropped_ack_cache),
        event_log: snapshot.journal.as_ref().map(event_files_from),
    }
}

fn event_files_from(journal: &JournalState) -> EventFiles {
    let missing = [("behind", journal.behind), ("unwritable", journal.unwritable)];
    EventFiles {
        directory: journal.directory.clone(),
        limit_bytes: journal.limit,
        bytes: journal.bytes,
        segments: journal.segments,
        oldest: journal.oldest,
        written: journal.written,
        missing: missing.map(|(reason, events)| (reason.to_owned(), events)).into(),
        evicted: journal.evicted,
        read_back: journal.read_back,
        unreadable_bytes: journal.unreadable_bytes,
    }
}

fn mode(probes: &[ProbeStatus]) -> String {
    let mut modes: Vec<_> =
        probes.iter().filter(|probe| probe.attached).map(|probe| probe.mode.as_str()).collect();
    modes.sort_unstable();
    modes.dedup();
    if modes.is_empty() { "none".to_owned() } else { modes.join("+") }
}

fn probe_from(probe: &ProbeStatus) -> Probe {
    Probe {
        program: probe.program.to_string(),
        function: probe.function.to_string(),
        at: probe.at.to_string(),
        mode: probe.mode.as_str().to_owned(),
        required: probe.required,
        attached: probe.attached,
        detail: probe.detail.clone(),
        missed: probe.missed,
    }
}

fn reconciliation_from(snapshot: &Snapshot, balance: &NamespaceBalance) -> Reconciliation {
    let namespace = snapshot.namespaces.get(&balance.netns);
    let since = |counter| namespace.map_or(0, |namespace| namespace.charged_since.get(counter));
    let (counters, clock) = (balance.counters.iter(), snapshot.wall_clock);
    let (compared_from, compared_since) = match balance.start {
        Start::Attach => ("attach", None),
        Start::Birth => ("birth", None),
        Start::FirstLook(at) => ("first_look", Some(clock.rfc3339(at))),
    };
    Reconciliation {
        netns: snapshot.netns_name(balance.netns),
        netns_inode: balance.netns.inode,
        netns_generation: balance.netns.generation,
        state: namespace.map_or("ended", state).to_owned(),
        ended: namespace.and_then(|namespace| namespace.ended).map(|ended| clock.rfc3339(ended)),
        compared_from: compared_from.to_owned(),
        compared_since,
        read: clock.rfc3339(balance.read),
        last: balance.last,
        exact: balance.is_exact(),
        slack: balance.slack,
        counters: counters
            .map(|(counter, balance)| (counter.as_str().to_owned(), balance_from(balance, since(counter))))
            .collect(),
    }
}

const fn state(namespace: &NamespaceView) -> &'static str {
    match namespace.ended {
        _ if namespace.netns.inode == Netns::GONE.inode => "gone",
        Some(_) => "ended",
        None => "alive",
    }
}

const fn balance_from(balance: CounterBalance, charged_since: u64) -> Balance {
    let CounterBalance { kernel, since_attach, attributed, residual } = balance;
    Balance { kernel, since_attach, attributed, residual, charged_since }
}

fn not_compared_from(namespace: &NamespaceView) -> NotCompared {
    let charged = namespace.charged_since.iter();
    NotCompared {
        netns: namespace.name.to_string(),
        netns_inode: namespace.netns.inode,
        netns_generation: namespace.netns.generation,
        state: state(namespace).to_owned(),
        why: namespace.why_not.as_deref().map(str::to_owned),
        charged: charged.map(|(counter, value)| (counter.as_str().to_owned(), value)).collect(),
    }
}

fn namespace_search_from(
    SearchCost { searches, spent, processes, threads, denied }: SearchCost,
) -> NamespaceSearch {
    NamespaceSearch { searches, seconds: spent.as_secs_f64(), processes, threads, denied }
}

fn dropped_ack_cache_from(dropped_ack_cache: &DroppedAckCacheUse) -> DroppedAckCache {
    DroppedAckCache {
        capacity: dropped_ack_cache.capacity,
        entered: dropped_ack_cache.entered,
        held: dropped_ack_cache.outstanding.min(dropped_ack_cache.capacity),
        forgotten_at_most: dropped_ack_cache.forgotten_at_most,
        complete: dropped_ack_cache.is_complete(),
    }
}

fn slots_from(slots: &SlotUse) -> (String, Slots) {
    let SlotUse { ref kind, capacity, used, given_back } = *slots;
    (kind.to_string(), Slots { capacity, used, given_back })
}

fn event_flow_from(snapshot: &Snapshot) -> EventFlow {
    let flow = &snapshot.health.flow;
    let lost = LossReason::ALL.map(|reason| (reason.as_str().to_owned(), flow.lost(reason)));
    EventFlow {
        seen: flow.seen,
        submitted: flow.submitted,
        suppressed: flow.suppressed,
        stored: snapshot.events.appended() - snapshot.events.before_this_run(),
        lost: lost.into(),
        folded: flow.folded,
        netns_untracked: flow.netns_untracked,
        listens_lost: flow.listens_lost,
        netns_final_counters_lost: flow.netns_final_counters_lost,
    }
}
