//! `/api/v1/status`: how netqueue sees, and whether its sums add up.

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
        CounterBalance, LossReason, NamespaceBalance, NamespaceView, Presence, ProbeStatus, SearchCost,
        Snapshot,
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
    namespace_search: NamespaceSearch,
    events: EventCounts,
}

#[derive(Serialize)]
struct Probe {
    program: &'static str,
    function: &'static str,
    at: &'static str,
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
    /// `alive`, `gone` (kept until it was scraped twice), `charged` (not found yet), or `missed` (gone before that).
    presence: &'static str,
    /// Null, and no counters, where they are not compared.
    exact: Option<bool>,
    certain: Option<bool>,
    read: Option<String>,
    counters: ByName<Balance>,
}

#[derive(Serialize)]
struct Balance {
    kernel: u64,
    since_attach: i64,
    attributed: i64,
    uncertain: i64,
    residual: i64,
}

/// What looking for namespaces costs.
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
        // A dead one whose balance was added to that of `gone` has none of its own any more.
        let shown = |of: &&NamespaceView| of.balance.is_some() || of.presence != Presence::Gone;
        let namespaces = snapshot.namespaces.iter().filter(shown);
        Self {
            version: build.version,
            revision: build.revision,
            rustc: build.rustc,
            attached: snapshot.attached.to_rfc3339(),
            taken: snapshot.taken.to_rfc3339(),
            host_netns_inode: snapshot.host.0,
            mode: mode(probes),
            probes: probes.iter().map(Probe::of).collect(),
            reconciliation: namespaces.map(Reconciliation::of).collect(),
            namespace_search: NamespaceSearch::from(snapshot.search),
            events: EventCounts::of(snapshot),
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
            program: probe.program,
            function: probe.function,
            at: probe.at,
            mode: probe.mode.as_str(),
            required: probe.required,
            attached: probe.attached,
            detail: probe.detail.clone(),
            missed: probe.missed,
        }
    }
}

impl Reconciliation {
    fn of(namespace: &NamespaceView) -> Self {
        let balance = namespace.balance.as_ref();
        let counters = balance.into_iter().flat_map(|balance| balance.counters.iter());
        Self {
            netns: namespace.name.to_string(),
            netns_inode: namespace.netns.0,
            presence: namespace.presence.as_str(),
            exact: balance.map(NamespaceBalance::is_exact),
            certain: balance.map(|balance| balance.certain),
            read: balance.map(|balance| balance.read.to_rfc3339()),
            counters: ByName(
                counters.map(|(counter, balance)| (counter.as_str(), Balance::from(balance))).collect(),
            ),
        }
    }
}

impl From<CounterBalance> for Balance {
    fn from(balance: CounterBalance) -> Self {
        let CounterBalance { kernel, since_attach, attributed, uncertain, residual } = balance;
        Self { kernel, since_attach, attributed, uncertain, residual }
    }
}

impl From<SearchCost> for NamespaceSearch {
    fn from(SearchCost { searches, spent, processes, threads, denied }: SearchCost) -> Self {
        Self { searches, seconds: spent.as_secs_f64(), processes, threads, denied }
    }
}

impl EventCounts {
    fn of(snapshot: &Snapshot) -> Self {
        let flow = &snapshot.health.flow;
        let lost = LossReason::ALL.map(|reason| (reason.as_str(), flow.lost(reason)));
        Self {
            seen: flow.seen,
            submitted: flow.submitted,
            stored: snapshot.events.appended(),
            lost: ByName(lost.into()),
            folded: flow.folded,
        }
    }
}
