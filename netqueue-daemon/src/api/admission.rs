//! Limit on concurrent queries: others wait briefly, then get 503 with Retry-After.

use std::{sync::Arc, time::Duration};

use axum::{
    extract::{Request, State},
    middleware::Next,
    response::{IntoResponse as _, Response},
};

use super::{Api, problem::Problem};

/// Queries answered concurrently.
pub(super) const QUERIES: usize = 64;
/// Longest wait of a query for a permit.
const PATIENCE: Duration = Duration::from_secs(2);

/// Middleware that takes a permit for each query.
/// The permit is released once the response is made; streaming the body afterwards takes none.
pub(super) async fn queue(State(api): State<Api>, request: Request, next: Next) -> Response {
    match tokio::time::timeout(PATIENCE, Arc::clone(&api.queries).acquire_owned()).await {
        Ok(Ok(_place)) => next.run(request).await,
        Ok(Err(_)) | Err(_) => Problem::unavailable(format!(
            "{QUERIES} queries are being answered, which is as many as there may be at once: try again in a second"
        ))
        .into_response(),
    }
}
