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
    domain::{CounterBalance, LossReason, NamespaceBalance, ProbeStatus, SlotUse, Snapshot},
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
    exact: bool,
    counters: ByName<Balance>,
}

#[derive(Serialize)]
struct Balance {
    kernel: u64,
    since_attach: i64,
    attributed: i64,
    residual: i64,
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
        let balances = snapshot.balances.iter();
        Self {
            version: build.version,
            revision: build.revision,
            rustc: build.rustc,
            attached: snapshot.attached.to_rfc3339(),
            taken: snapshot.taken.to_rfc3339(),
            host_netns_inode: snapshot.host.inode,
            mode: mode(probes),
            probes: probes.iter().map(Probe::of).collect(),
            reconciliation: balances.map(|balance| Reconciliation::of(snapshot, balance)).collect(),
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
        let counters = balance.counters.iter();
        Self {
            netns: snapshot.netns_name(balance.netns),
            netns_inode: balance.netns.inode,
            netns_generation: balance.netns.generation,
            exact: balance.is_exact(),
            counters: ByName(
                counters.map(|(counter, balance)| (counter.as_str(), Balance::from(balance))).collect(),
            ),
        }
    }
}

impl From<CounterBalance> for Balance {
    fn from(CounterBalance { kernel, since_attach, attributed, residual }: CounterBalance) -> Self {
        Self { kernel, since_attach, attributed, residual }
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
