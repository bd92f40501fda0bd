//! The HTTP API over snapshots: listeners, events, status, and whether netqueue is ready.

mod diagnosis;
mod envelope;
mod event_filter;
mod events;
mod listener;
mod listeners;
mod moment;
mod params;
mod place;
mod probes;
mod recording;
mod runbooks;
mod spikes;
mod status;
#[cfg(test)]
mod tests;
mod traffic;

use axum::{
    Router,
    http::{Method, Uri},
    routing::get,
};
pub use recording::PATH as RECORDING;

use crate::{
    snapshots::Snapshots,
    web::problem::{self, Problem},
};

/// Everything below `/api` and `/-`, and the refusal of everything else.
pub fn router(snapshots: Snapshots) -> Router {
    Router::new()
        .route("/-/healthy", get(probes::healthy))
        .route("/-/ready", get(probes::ready))
        .route("/api/v1/listeners", get(listeners::get))
        .route("/api/v1/events", get(events::get))
        .route("/api/v1/diagnosis", get(diagnosis::get))
        .route("/api/v1/spikes", get(spikes::get))
        .route("/api/v1/status", get(status::get))
        .route("/runbooks", get(runbooks::list))
        .route("/runbooks/{name}", get(runbooks::get))
        .route(recording::PATH, get(recording::get))
        .fallback(async |uri: Uri| Problem::not_found(uri.path()))
        .method_not_allowed_fallback(async |method: Method, uri: Uri| {
            Problem::method_not_allowed(method.as_str(), uri.path())
        })
        .with_state(snapshots)
}
