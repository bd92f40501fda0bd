//! `/api/v1/events`: single drops and resets, newest first.

use std::collections::HashMap;

use axum::extract::State;
use serde::Serialize;

use super::{
    envelope::{Envelope, Queue},
    event_filter::EventFilter,
    params::Params,
    place::Place,
    problem::Problem,
};
use crate::{
    domain::{AccountId, AccountKey, Event, Peer, Snapshot},
    snapshots::Snapshots,
};

#[derive(Serialize)]
pub(super) struct Events {
    events: Vec<EventView>,
}

#[derive(Serialize)]
struct EventView {
    seq: u64,
    time: String,
    time_ns: String,
    kind: &'static str,
    listener: Option<String>,
    #[serde(flatten)]
    place: Place,
    peer: Option<PeerView>,
    stage: Option<&'static str>,
    cause: &'static str,
    kernel_reason: Option<String>,
    accept_queue: Option<Queue>,
    syn_queue: Option<Queue>,
    cpu: u32,
    /// For a reset of an expired handshake: seconds since its final ACK was dropped.
    age_seconds: Option<f64>,
}

#[derive(Serialize)]
struct PeerView {
    addr: String,
    port: u16,
}

/// Answers the request.
pub(super) async fn get(
    State(snapshots): State<Snapshots>,
    params: Params,
) -> Result<Envelope<Events>, Problem> {
    let filter = EventFilter::from_params(params)?;
    let snapshot = snapshots.fresh().await;
    let (events, warnings) = select(&snapshot, &filter);
    Ok(Envelope::of(&snapshot, events, warnings))
}

/// The newest events the filter admits, and what the client should know of those not shown.
fn select(snapshot: &Snapshot, filter: &EventFilter) -> (Events, Vec<String>) {
    let ids: HashMap<_, _> = snapshot.accounts.iter().map(|account| (account.key, account.id)).collect();
    let mut warnings = Vec::new();
    if let Some(listener) = filter.listener
        && !snapshot.accounts.iter().any(|account| account.id == listener)
    {
        warnings.push(format!("no listener has the id {}: see /api/v1/listeners", listener.0));
    }
    let mut admitted = snapshot
        .events
        .newest_first()
        .filter(|(_, event)| filter.admits(snapshot, event, ids.get(&event.account).copied()));
    let shown = admitted.by_ref().take(filter.limit);
    let events = shown.map(|(seq, event)| EventView::of(snapshot, &ids, seq, event)).collect();
    if admitted.next().is_some() {
        warnings
            .push(format!("only the newest {} of the matching events are shown: see `limit`", filter.limit));
    }
    (Events { events }, warnings)
}

impl EventView {
    fn of(snapshot: &Snapshot, ids: &HashMap<AccountKey, AccountId>, seq: u64, event: &Event) -> Self {
        Self {
            seq,
            time: event.time.to_rfc3339(),
            time_ns: event.time.as_nanos().to_string(),
            kind: event.what.kind(),
            listener: ids.get(&event.account).map(|id| id.0.to_string()),
            place: Place::of_event(snapshot, event),
            peer: event.peer.map(|Peer { addr, port }| PeerView { addr: addr.to_string(), port }),
            stage: event.what.stage(),
            cause: event.what.cause(),
            kernel_reason: event.kernel_reason.as_deref().map(str::to_owned),
            accept_queue: event.queues.accept.map(Queue::from),
            syn_queue: event.queues.syn.map(Queue::from),
            cpu: event.cpu,
            age_seconds: event.age.map(|age| age.as_secs_f64()),
        }
    }
}
