//! `/api/v1/status`: how netqueue sees, and whether its sums add up.

use axum::extract::State;

use super::{Api, answer::Answer, answers::Inquiry, params::Params, problem::Problem};
use crate::{
    build_info::BuildInfo,
    model::{
        Balance, Envelope, EventFiles, EventFlow, Ledger, Memory, NamespaceSearch, NotCompared, Probe,
        Problem as Refused, Reconciliation, Slots, Status,
    },
};
use netqueue_domain::{
    CounterBalance, JournalState, LedgerUse, LossReason, NamespaceBalance, NamespaceView, Netns, ProbeStatus,
    SearchCost, SlotUse, Snapshot, Start,
};

/// How netqueue sees, and whether its sums add up
#[utoipa::path(get, path = "/api/v1/status", tag = "query", responses(
    (status = 200, description = "Mode, probes, residuals, losses", content(
        (Envelope<Status> = "application/json"), (String = "application/x-ndjson"))),
    (status = 400, description = "There are parameters and none is known", body = Refused, content_type = "application/problem+json"),
    (status = 406, description = "Neither JSON nor NDJSON is accepted", body = Refused, content_type = "application/problem+json"),
    (status = 503, description = "Too many requests are being answered", body = Refused, content_type = "application/problem+json"),
))]
pub(super) async fn get(State(api): State<Api>, inquiry: Inquiry, params: Params) -> Result<Answer, Problem> {
    params.only(&[])?;
    let snapshot = api.snapshots.fresh().await;
    Ok(api.answers.once(&snapshot, inquiry, |form| {
        form.one(&snapshot, Status::of(&snapshot, BuildInfo::THIS), Vec::new())
    }))
}

impl Status {
    fn of(snapshot: &Snapshot, build: BuildInfo) -> Self {
        let (probes, clock) = (&snapshot.health.probes, snapshot.wall_clock);
        let compared = snapshot.balances();
        let uncompared = snapshot.namespaces.values().filter(|namespace| namespace.balance.is_none());
        Self {
            version: build.version.to_owned(),
            revision: build.revision.to_owned(),
            rustc: build.rustc.to_owned(),
            attached: clock.rfc3339(snapshot.attached),
            taken: clock.rfc3339(snapshot.taken),
            host_netns_inode: snapshot.host.inode,
            mode: mode(probes),
            probes: probes.iter().map(Probe::of).collect(),
            caveats: snapshot.health.caveats.clone(),
            obstacles: snapshot.health.obstacles.iter().map(|one| one.sentence().to_owned()).collect(),
            reconciliation: compared.map(|balance| Reconciliation::of(snapshot, balance)).collect(),
            not_compared: uncompared.map(NotCompared::of).collect(),
            namespace_search: NamespaceSearch::from(snapshot.search),
            events: EventFlow::of(snapshot),
            memory: Memory {
                event_bytes: snapshot.events.bytes() as u64,
                history_bytes: snapshot.accounts.iter().map(|account| account.history.bytes() as u64).sum(),
            },
            slots: snapshot.health.slots.iter().map(Slots::named).collect(),
            ledger: Ledger::of(&snapshot.health.ledger),
            event_log: snapshot.journal.as_ref().map(EventFiles::of),
        }
    }
}

impl EventFiles {
    fn of(journal: &JournalState) -> Self {
        let missing = [("behind", journal.behind), ("unwritable", journal.unwritable)];
        Self {
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
}

fn mode(probes: &[ProbeStatus]) -> String {
    let mut modes: Vec<_> =
        probes.iter().filter(|probe| probe.attached).map(|probe| probe.mode.as_str()).collect();
    modes.sort_unstable();
    modes.dedup();
    if modes.is_empty() { "none".to_owned() } else { modes.join("+") }
}

impl Probe {
    fn of(probe: &ProbeStatus) -> Self {
        Self {
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
}

impl Reconciliation {
    fn of(snapshot: &Snapshot, balance: &NamespaceBalance) -> Self {
        let namespace = snapshot.namespaces.get(&balance.netns);
        let since = |counter| namespace.map_or(0, |namespace| namespace.charged_since.get(counter));
        let (counters, clock) = (balance.counters.iter(), snapshot.wall_clock);
        let (compared_from, compared_since) = match balance.start {
            Start::Attach => ("attach", None),
            Start::Birth => ("birth", None),
            Start::FirstLook(at) => ("first_look", Some(clock.rfc3339(at))),
        };
        Self {
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
                .map(|(counter, balance)| (counter.as_str().to_owned(), Balance::of(balance, since(counter))))
                .collect(),
        }
    }
}

const fn state(namespace: &NamespaceView) -> &'static str {
    match namespace.ended {
        _ if namespace.netns.inode == Netns::GONE.inode => "gone",
        Some(_) => "ended",
        None => "alive",
    }
}

impl Balance {
    const fn of(balance: CounterBalance, charged_since: u64) -> Self {
        let CounterBalance { kernel, since_attach, attributed, residual } = balance;
        Self { kernel, since_attach, attributed, residual, charged_since }
    }
}

impl NotCompared {
    fn of(namespace: &NamespaceView) -> Self {
        let charged = namespace.charged_since.iter();
        Self {
            netns: namespace.name.to_string(),
            netns_inode: namespace.netns.inode,
            netns_generation: namespace.netns.generation,
            state: state(namespace).to_owned(),
            why: namespace.why_not.as_deref().map(str::to_owned),
            charged: charged.map(|(counter, value)| (counter.as_str().to_owned(), value)).collect(),
        }
    }
}

impl From<SearchCost> for NamespaceSearch {
    fn from(SearchCost { searches, spent, processes, threads, denied }: SearchCost) -> Self {
        Self { searches, seconds: spent.as_secs_f64(), processes, threads, denied }
    }
}

impl Ledger {
    fn of(ledger: &LedgerUse) -> Self {
        Self {
            capacity: ledger.capacity,
            entered: ledger.entered,
            held: ledger.outstanding.min(ledger.capacity),
            forgotten_at_most: ledger.forgotten_at_most,
            complete: ledger.is_complete(),
        }
    }
}

impl Slots {
    fn named(slots: &SlotUse) -> (String, Self) {
        let SlotUse { ref kind, capacity, used, given_back } = *slots;
        (kind.to_string(), Self { capacity, used, given_back })
    }
}

impl EventFlow {
    fn of(snapshot: &Snapshot) -> Self {
        let flow = &snapshot.health.flow;
        let lost = LossReason::ALL.map(|reason| (reason.as_str().to_owned(), flow.lost(reason)));
        Self {
            seen: flow.seen,
            submitted: flow.submitted,
            suppressed: flow.suppressed,
            stored: snapshot.events.appended() - snapshot.events.before_this_run(),
            lost: lost.into(),
            folded: flow.folded,
            namespaces_untold: flow.namespaces_untold,
            listens_lost: flow.listens_lost,
            farewells_lost: flow.farewells_lost,
        }
    }
}
