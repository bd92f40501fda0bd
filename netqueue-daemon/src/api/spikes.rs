//! `/api/v1/spikes`: sudden rises of drops, those that go on and the newest of those that are over, newest first.

use axum::{extract::State, response::Response};
use serde::Serialize;

use super::{Api, answer::Form, params::Params, place::Place, problem::Problem};
use crate::domain::{Snapshot, Spike, SpikeScope};

#[derive(Serialize)]
pub(super) struct Spikes {
    active: usize,
    spikes: Vec<SpikeView>,
}

#[derive(Serialize)]
pub(super) struct SpikeView {
    id: String,
    /// `listener`, or `namespace` for all drops of one.
    scope: &'static str,
    listener: Option<String>,
    #[serde(flatten)]
    place: Place,
    /// `any` for a namespace.
    cause: &'static str,
    active: bool,
    started: String,
    detected: String,
    last_drop: String,
    ended: Option<String>,
    drops: u64,
    peak_per_second: u64,
    baseline_per_second: f64,
    clients: Clients,
}

#[derive(Serialize)]
struct Clients {
    addresses: u64,
    connections: u64,
    at_least: bool,
}

/// Answers the request.
pub(super) async fn get(State(api): State<Api>, form: Form, params: Params) -> Result<Response, Problem> {
    let params = params.only(&["active"])?;
    let active = params.one_of("active", &["true", "false"])?;
    let snapshot = api.snapshots.fresh().await;
    let meant = |spike: &&Spike| active.is_none_or(|active| spike.is_active() == (active == "true"));
    let spikes = Spikes {
        active: snapshot.spikes.iter().filter(|spike| spike.is_active()).count(),
        spikes: snapshot
            .spikes
            .iter()
            .rev()
            .filter(meant)
            .map(|spike| SpikeView::of(&snapshot, spike))
            .collect(),
    };
    Ok(form.one(&snapshot, spikes, Vec::new()))
}

impl SpikeView {
    pub(super) fn of(snapshot: &Snapshot, spike: &Spike) -> Self {
        let (place, listener) = match &spike.scope {
            SpikeScope::Account(key, _) => (Place::of(snapshot, key), snapshot.account(key)),
            SpikeScope::Namespace(netns) => (Place::of_namespace(snapshot, *netns), None),
        };
        Self {
            id: spike.id.to_string(),
            scope: spike.scope.kind(),
            listener: listener.map(|account| account.id.0.to_string()),
            place,
            cause: spike.scope.cause(),
            active: spike.is_active(),
            started: spike.started.to_rfc3339(),
            detected: spike.detected.to_rfc3339(),
            last_drop: spike.last_drop.to_rfc3339(),
            ended: spike.ended.map(|ended| ended.to_rfc3339()),
            drops: spike.drops,
            peak_per_second: spike.peak_per_second,
            baseline_per_second: spike.baseline_per_second,
            clients: Clients {
                addresses: spike.peers.addresses,
                connections: spike.peers.connections,
                at_least: spike.peers.at_least,
            },
        }
    }
}
