//! No more queries at once than can be answered in time: others wait a moment, then are told to come back.

use std::{sync::Arc, time::Duration};

use axum::{
    extract::{Request, State},
    middleware::Next,
    response::{IntoResponse as _, Response},
};

use super::{Api, problem::Problem};

/// Queries that are answered at once.
pub(super) const QUERIES: usize = 64;
/// So long one waits for a place.
const PATIENCE: Duration = Duration::from_secs(2);

/// Answers in turn. A place is held until the answer is made; what is streamed afterwards holds none.
pub(super) async fn queue(State(api): State<Api>, request: Request, next: Next) -> Response {
    match tokio::time::timeout(PATIENCE, Arc::clone(&api.queries).acquire_owned()).await {
        Ok(Ok(_place)) => next.run(request).await,
        Ok(Err(_)) | Err(_) => Problem::unavailable(format!(
            "{QUERIES} queries are being answered, which is as many as there may be at once: try again in a second"
        ))
        .into_response(),
    }
}
