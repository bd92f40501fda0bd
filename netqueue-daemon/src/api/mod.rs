//! HTTP API over snapshots: listeners, events, time series, peers, diagnosis, spikes, status, event
//! stream, recording; and the health and readiness probes.

mod account_row;
mod admission;
mod answer;
mod beside;
mod choices;
mod cursor;
mod diagnosis;
mod event_filter;
mod events;
mod health_warnings;
mod listener_filter;
mod listeners;
mod messages;
mod openapi;
mod owner_state;
mod params;
mod peers;
mod place;
mod probes;
mod query;
#[cfg(test)]
mod query_tests;
mod recording;
mod response_cache;
mod runbooks;
mod socket;
mod spikes;
mod status;
#[cfg(test)]
mod stepped_clock_tests;
mod stream;
#[cfg(test)]
mod stream_tests;
#[cfg(test)]
mod tests;
mod timeseries;
mod timestamp;
mod traffic;

use std::sync::Arc;

use axum::{
    Router,
    http::{Method, Uri},
    middleware,
    routing::get,
};
pub use openapi::document;
pub use recording::PATH as RECORDING;
use response_cache::Answers;
use tokio::sync::Semaphore;
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{
    snapshots::Snapshots,
    web::problem::{self, Problem},
};

/// State shared by all handlers.
#[derive(Clone)]
struct Api {
    snapshots: Snapshots,
    answers: Answers,
    /// Permits for streams.
    streams: Arc<Semaphore>,
    /// Permits for queries.
    queries: Arc<Semaphore>,
}

/// Routes below `/api`, `/-` and `/runbooks`, and the refusal of everything else.
pub fn router(snapshots: Snapshots) -> Router {
    let api = Api {
        snapshots,
        answers: Answers::default(),
        streams: Arc::new(Semaphore::new(stream::SUBSCRIBERS)),
        queries: Arc::new(Semaphore::new(admission::QUERIES)),
    };
    let (routes, document) = routes().split_for_parts();
    let document = openapi::finish(document);
    Router::new()
        .route("/-/healthy", get(probes::healthy))
        .route("/-/ready", get(probes::ready))
        .route("/runbooks", get(runbooks::list))
        .route("/runbooks/{name}", get(runbooks::get))
        .route("/api/v1/openapi.json", get(async move || axum::Json(document)))
        .merge(routes.layer(middleware::from_fn_with_state(api.clone(), admission::queue)))
        .fallback(async |uri: Uri| Problem::not_found(uri.path()))
        .method_not_allowed_fallback(async |method: Method, uri: Uri| {
            Problem::method_not_allowed(method.as_str(), uri.path())
        })
        .with_state(api)
}

/// Handlers and paths that the OpenAPI document describes.
fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::new()
        .routes(routes!(listeners::list))
        .routes(routes!(listeners::one))
        .routes(routes!(events::get))
        .routes(routes!(stream::get))
        .routes(routes!(timeseries::get))
        .routes(routes!(peers::get))
        .routes(routes!(diagnosis::get))
        .routes(routes!(spikes::get))
        .routes(routes!(status::get))
        .routes(routes!(recording::get))
}
