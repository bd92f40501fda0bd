//! `/api/v1/status`: how netqueue sees, and whether its sums add up.

use axum::{extract::State, response::Response};

use super::{Api, answer::Form, params::Params, problem::Problem};
use crate::{
    build_info::BuildInfo,
    domain::{CounterBalance, LossReason, NamespaceBalance, ProbeStatus, Snapshot},
    model::{Balance, Envelope, EventFlow, Memory, Probe, Problem as Refused, Reconciliation, Status},
};

/// How netqueue sees, and whether its sums add up
#[utoipa::path(get, path = "/api/v1/status", tag = "query", responses(
    (status = 200, description = "Mode, probes, residuals, losses", content(
        (Envelope<Status> = "application/json"), (String = "application/x-ndjson"))),
    (status = 400, description = "There are parameters and none is known", body = Refused, content_type = "application/problem+json"),
    (status = 406, description = "Neither JSON nor NDJSON is accepted", body = Refused, content_type = "application/problem+json"),
    (status = 503, description = "Too many requests are being answered", body = Refused, content_type = "application/problem+json"),
))]
pub(super) async fn get(State(api): State<Api>, form: Form, params: Params) -> Result<Response, Problem> {
    params.only(&[])?;
    let snapshot = api.snapshots.fresh().await;
    Ok(form.one(&snapshot, Status::of(&snapshot, BuildInfo::THIS), Vec::new()))
}

impl Status {
    fn of(snapshot: &Snapshot, build: BuildInfo) -> Self {
        let probes = &snapshot.health.probes;
        let balances = snapshot.balances.iter();
        Self {
            version: build.version.to_owned(),
            revision: build.revision.to_owned(),
            rustc: build.rustc.to_owned(),
            attached: snapshot.attached.to_rfc3339(),
            taken: snapshot.taken.to_rfc3339(),
            host_netns_inode: snapshot.host.inode,
            mode: mode(probes),
            probes: probes.iter().map(Probe::of).collect(),
            reconciliation: balances.map(|balance| Reconciliation::of(snapshot, balance)).collect(),
            events: EventFlow::of(snapshot),
            memory: Memory {
                event_bytes: snapshot.events.bytes() as u64,
                history_bytes: snapshot.accounts.iter().map(|account| account.history.bytes() as u64).sum(),
            },
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
        let counters = balance.counters.iter();
        Self {
            netns: snapshot.netns_name(balance.netns),
            netns_inode: balance.netns.inode,
            netns_generation: balance.netns.generation,
            exact: balance.is_exact(),
            counters: counters
                .map(|(counter, balance)| (counter.as_str().to_owned(), Balance::from(balance)))
                .collect(),
        }
    }
}

impl From<CounterBalance> for Balance {
    fn from(CounterBalance { kernel, since_attach, attributed, residual }: CounterBalance) -> Self {
        Self { kernel, since_attach, attributed, residual }
    }
}

impl EventFlow {
    fn of(snapshot: &Snapshot) -> Self {
        let flow = &snapshot.health.flow;
        let lost = LossReason::ALL.map(|reason| (reason.as_str().to_owned(), flow.lost(reason)));
        Self {
            seen: flow.seen,
            submitted: flow.submitted,
            stored: snapshot.events.appended(),
            lost: lost.into(),
            folded: flow.folded,
            namespaces_untold: flow.namespaces_untold,
        }
    }
}
