//! `/api/v1/spikes`: active spikes and the newest ended ones, newest first.

use axum::extract::State;
use netqueue_api::{Envelope, Problem as Refused, Spike, SpikeClients, Spikes};
use netqueue_domain::{self as domain, Snapshot, SpikeScope};

use super::{
    Api, answer::Answer, params::Params, place::Place, problem::Problem, query::SpikeQuery,
    response_cache::CacheKey,
};

/// Query parameters, as listed in the OpenAPI document.
pub(super) const PARAMS: [&str; 1] = ["active"];

/// Sudden rises of drops
///
/// Active ones, and the newest of those that are over.
#[utoipa::path(get, path = "/api/v1/spikes", tag = "query", params(SpikeQuery), responses(
    (status = 200, description = "The spikes, newest first", content(
        (Envelope<Spikes> = "application/json"), (String = "application/x-ndjson"))),
    (status = 400, description = "A parameter is not what it should be", body = Refused, content_type = "application/problem+json"),
    (status = 406, description = "Neither JSON nor NDJSON is accepted", body = Refused, content_type = "application/problem+json"),
    (status = 503, description = "Too many requests are being answered", body = Refused, content_type = "application/problem+json"),
))]
pub(super) async fn get(
    State(api): State<Api>,
    inquiry: CacheKey,
    params: Params,
) -> Result<Answer, Problem> {
    let params = params.only(&PARAMS)?;
    let active = params.one_of("active", &["true", "false"])?;
    let snapshot = api.snapshots.fresh().await;
    let meant = |spike: &&domain::Spike| active.is_none_or(|active| spike.is_active() == (active == "true"));
    Ok(api.answers.once(&snapshot, inquiry, |form| {
        let shown = snapshot.spikes.iter().rev().filter(meant);
        let spikes = Spikes {
            active: snapshot.spikes.iter().filter(|spike| spike.is_active()).count(),
            spikes: shown.map(|spike| spike_from(&snapshot, spike)).collect(),
        };
        form.one(&snapshot, spikes, Vec::new())
    }))
}

pub(super) fn spike_from(snapshot: &Snapshot, spike: &domain::Spike) -> Spike {
    let (place, listener) = match &spike.scope {
        SpikeScope::Account(key, _) => (Place::of(snapshot, key), snapshot.account(key)),
        SpikeScope::Namespace(netns) => (Place::of_namespace(snapshot, *netns), None),
    };
    let clock = snapshot.wall_clock;
    Spike {
        id: spike.id.to_string(),
        scope: spike.scope.kind().to_owned(),
        listener: listener.map(|account| account.id.0.to_string()),
        netns: place.netns,
        netns_inode: place.netns_inode,
        netns_generation: place.netns_generation,
        addr: place.addr,
        port: place.port,
        cause: spike.scope.cause().to_owned(),
        active: spike.is_active(),
        started: clock.rfc3339(spike.started),
        detected: clock.rfc3339(spike.detected),
        last_drop: clock.rfc3339(spike.last_drop),
        ended: spike.ended.map(|ended| clock.rfc3339(ended)),
        drops: spike.drops,
        peak_per_second: spike.peak_per_second,
        baseline_per_second: spike.baseline_per_second,
        clients: SpikeClients {
            addresses: spike.peers.addresses,
            connections: spike.peers.connections,
            at_least: spike.peers.at_least,
        },
    }
}
