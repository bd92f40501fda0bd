//! The HTTP API over snapshots: listeners, events, status, and whether netqueue is ready.

mod envelope;
mod event_filter;
mod events;
mod listener;
mod listeners;
mod moment;
mod params;
mod place;
mod probes;
mod problem;
mod recording;
mod status;
#[cfg(test)]
mod tests;

use axum::{
    Router,
    http::{Method, Uri},
    response::Html,
    routing::get,
};
use problem::Problem;
pub use recording::PATH as RECORDING;

use crate::snapshots::Snapshots;

/// Everything but the metrics page, to which the index links at `telemetry_path`.
pub fn router(snapshots: Snapshots, telemetry_path: &str) -> Router {
    let index = index(telemetry_path);
    Router::new()
        .route("/", get(async move || Html(index)))
        .route("/-/healthy", get(probes::healthy))
        .route("/-/ready", get(probes::ready))
        .route("/api/v1/listeners", get(listeners::get))
        .route("/api/v1/events", get(events::get))
        .route("/api/v1/status", get(status::get))
        .route(recording::PATH, get(recording::get))
        .fallback(async |uri: Uri| Problem::not_found(uri.path()))
        .method_not_allowed_fallback(async |method: Method, uri: Uri| {
            Problem::method_not_allowed(method.as_str(), uri.path())
        })
        .with_state(snapshots)
}

fn index(telemetry_path: &str) -> String {
    let links = [
        ("/api/v1/listeners", "what each listener dropped and reset, and its queues"),
        ("/api/v1/events", "single drops and resets, newest first"),
        ("/api/v1/status", "probes, losses, and whether the sums add up"),
        (telemetry_path, "metrics for Prometheus"),
        ("/-/healthy", "whether the process lives"),
        ("/-/ready", "whether every required probe is attached"),
    ];
    let items = links.map(|(path, what)| format!("<li><a href=\"{path}\">{path}</a>: {what}</li>\n"));
    format!(
        "<!doctype html>\n<html lang=\"en\"><meta charset=\"utf-8\"><title>netqueue</title>\n\
         <h1>netqueue</h1>\n<ul>\n{}</ul>\n</html>\n",
        items.concat()
    )
}
