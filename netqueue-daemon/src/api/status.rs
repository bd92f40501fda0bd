//! `/api/v1/status`: how netqueue sees, and whether its sums add up.

use std::collections::BTreeMap;

use axum::extract::State;
use serde::Serialize;

use super::{
    envelope::{ByName, Envelope},
    params::Params,
    problem::Problem,
};
use crate::{
    build_info::BuildInfo,
    domain::{
        CounterBalance, LossReason, NamespaceBalance, NamespaceView, Netns, ProbeStatus, SearchCost, SlotUse,
        Snapshot, Start, Timestamp,
    },
    snapshots::Snapshots,
};

#[derive(Serialize)]
pub(super) struct Status {
    version: &'static str,
    revision: &'static str,
    rustc: &'static str,
    attached: String,
    taken: String,
    host_netns_inode: u32,
    /// How programs are attached: one mode, or those in use joined by `+`, or `none`.
    mode: String,
    probes: Vec<Probe>,
    reconciliation: Vec<Reconciliation>,
    /// Namespaces in which something is charged and whose counters could not be compared.
    not_compared: Vec<NotCompared>,
    namespace_search: NamespaceSearch,
    events: EventCounts,
    /// The kernel side's room for accounts.
    slots: BTreeMap<String, Slots>,
}

#[derive(Serialize)]
struct Slots {
    capacity: u64,
    used: u64,
    given_back: u64,
}

#[derive(Serialize)]
struct Probe {
    program: String,
    function: String,
    at: String,
    mode: &'static str,
    required: bool,
    attached: bool,
    detail: Option<String>,
    missed: Option<u64>,
}

#[derive(Serialize)]
struct Reconciliation {
    netns: String,
    netns_inode: u32,
    netns_generation: u32,
    /// `alive`, `ended` (kept until it was scraped twice), or `gone` (the sum of those that ended before).
    state: &'static str,
    ended: Option<String>,
    /// From when on it is compared: `attach`, `birth`, or `first_look` at `compared_since`.
    compared_from: &'static str,
    compared_since: Option<String>,
    /// When its counters were read last.
    read: String,
    /// Whether that was at its end, so that nothing is missing.
    last: bool,
    exact: bool,
    /// A residual up to this may hide: drops went on whenever the counters were read. 0 as soon as they rest.
    slack: u64,
    counters: ByName<Balance>,
}

#[derive(Serialize)]
struct Balance {
    kernel: u64,
    since_attach: i64,
    attributed: i64,
    residual: i64,
    /// What was attributed since the counters were read.
    charged_since: u64,
}

/// A namespace that could not be compared.
#[derive(Serialize)]
struct NotCompared {
    netns: String,
    netns_inode: u32,
    netns_generation: u32,
    state: &'static str,
    why: Option<String>,
    charged: ByName<u64>,
}

/// What looking for namespaces took so far, and the last time.
#[derive(Serialize)]
struct NamespaceSearch {
    searches: u64,
    seconds: f64,
    processes: u64,
    threads: u64,
    denied: u64,
}

#[derive(Serialize)]
struct EventCounts {
    seen: u64,
    submitted: u64,
    suppressed: u64,
    stored: u64,
    lost: ByName<u64>,
    folded: u64,
}

/// Answers the request.
pub(super) async fn get(
    State(snapshots): State<Snapshots>,
    params: Params,
) -> Result<Envelope<Status>, Problem> {
    params.only(&[])?;
    let snapshot = snapshots.fresh().await;
    Ok(Envelope::of(&snapshot, Status::of(&snapshot, BuildInfo::THIS), []))
}

impl Status {
    fn of(snapshot: &Snapshot, build: BuildInfo) -> Self {
        let probes = &snapshot.health.probes;
        let compared = snapshot.balances();
        let uncompared = snapshot.namespaces.values().filter(|namespace| namespace.balance.is_none());
        Self {
            version: build.version,
            revision: build.revision,
            rustc: build.rustc,
            attached: snapshot.attached.to_rfc3339(),
            taken: snapshot.taken.to_rfc3339(),
            host_netns_inode: snapshot.host.inode,
            mode: mode(probes),
            probes: probes.iter().map(Probe::of).collect(),
            reconciliation: compared.map(|balance| Reconciliation::of(snapshot, balance)).collect(),
            not_compared: uncompared.map(NotCompared::of).collect(),
            namespace_search: NamespaceSearch::from(snapshot.search),
            events: EventCounts::of(snapshot),
            slots: snapshot.health.slots.iter().map(Slots::named).collect(),
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
            mode: probe.mode.as_str(),
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
        let counters = balance.counters.iter();
        let (compared_from, compared_since) = match balance.start {
            Start::Attach => ("attach", None),
            Start::Birth => ("birth", None),
            Start::FirstLook(at) => ("first_look", Some(at.to_rfc3339())),
        };
        Self {
            netns: snapshot.netns_name(balance.netns),
            netns_inode: balance.netns.inode,
            netns_generation: balance.netns.generation,
            state: namespace.map_or("ended", state),
            ended: namespace.and_then(|namespace| namespace.ended).map(Timestamp::to_rfc3339),
            compared_from,
            compared_since,
            read: balance.read.to_rfc3339(),
            last: balance.last,
            exact: balance.is_exact(),
            slack: balance.slack,
            counters: ByName(
                counters
                    .map(|(counter, balance)| (counter.as_str(), Balance::of(balance, since(counter))))
                    .collect(),
            ),
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
            state: state(namespace),
            why: namespace.why_not.as_deref().map(str::to_owned),
            charged: ByName(charged.map(|(counter, value)| (counter.as_str(), value)).collect()),
        }
    }
}

impl From<SearchCost> for NamespaceSearch {
    fn from(SearchCost { searches, spent, processes, threads, denied }: SearchCost) -> Self {
        Self { searches, seconds: spent.as_secs_f64(), processes, threads, denied }
    }
}

impl Slots {
    fn named(slots: &SlotUse) -> (String, Self) {
        let SlotUse { ref kind, capacity, used, given_back } = *slots;
        (kind.to_string(), Self { capacity, used, given_back })
    }
}

impl EventCounts {
    fn of(snapshot: &Snapshot) -> Self {
        let flow = &snapshot.health.flow;
        let lost = LossReason::ALL.map(|reason| (reason.as_str(), flow.lost(reason)));
        Self {
            seen: flow.seen,
            submitted: flow.submitted,
            suppressed: flow.suppressed,
            stored: snapshot.events.appended(),
            lost: ByName(lost.into()),
            folded: flow.folded,
        }
    }
}
