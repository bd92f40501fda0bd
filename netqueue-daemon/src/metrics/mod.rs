//! Metrics page: each scrape is answered from one fresh snapshot.

mod collector;
mod family;
#[cfg(test)]
mod fixture;
mod health;
mod info;
mod kernel;
mod listeners;
mod series;
mod text;
mod traffic;

use std::{convert::Infallible, sync::Arc};

use axum::{
    Router,
    body::Body,
    http::{StatusCode, header::CONTENT_TYPE},
    response::{IntoResponse as _, Response},
    routing::get,
};
use futures_util::stream;
use netqueue_domain::Snapshot;
use prometheus::{core::Collector, process_collector::ProcessCollector};

use crate::{build_info::BuildInfo, snapshots::Snapshots};

/// Routes scrapes of `path`, which begins with a slash.
/// Metrics that other parts of the daemon count themselves follow those of the snapshot.
pub fn router<C>(snapshots: Snapshots, path: &str, others: C) -> Router
where
    C: Collector + Clone + 'static,
{
    Router::new().route(path, get(move || scrape(snapshots.clone(), others.clone())))
}

async fn scrape(snapshots: Snapshots, others: impl Collector + 'static) -> Response {
    let snapshot = snapshots.scraped().await;
    match rest(others) {
        Ok(rest) => {
            let pieces = pieces(snapshot).chain([rest]);
            let body = Body::from_stream(stream::iter(pieces.map(Ok::<_, Infallible>)));
            ([(CONTENT_TYPE, prometheus::TEXT_FORMAT)], body).into_response()
        }
        Err(error) => {
            tracing::error!(%error, "the metrics page could not be built");
            let text = format!("the metrics page could not be built: {error}\n");
            (StatusCode::INTERNAL_SERVER_ERROR, text).into_response()
        }
    }
}

/// Encodes the metrics that do not come from the snapshot.
fn rest(others: impl Collector + 'static) -> prometheus::Result<Vec<u8>> {
    let mut rest = family::text(Box::new(others))?;
    rest.extend(family::text(Box::new(ProcessCollector::for_self()))?);
    Ok(rest)
}

/// Returns the snapshot's part of the page, piece by piece.
pub fn pieces(snapshot: Arc<Snapshot>) -> impl Iterator<Item = Vec<u8>> {
    collector::page(snapshot, BuildInfo::THIS)
}

#[cfg(test)]
mod tests {
    use axum::http::Request;
    use http_body_util::BodyExt as _;
    use tower::ServiceExt as _;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_scrape_is_answered_in_the_text_format_even_if_no_fresh_snapshot_comes() {
        let (_publisher, snapshots) = crate::snapshots::channel(fixture::incident());
        let request = Request::get("/m").body(Body::empty()).expect("a request");
        let others = prometheus::IntCounter::new("others_total", "Of another part.").expect("a name");
        let response = router(snapshots, "/m", others).oneshot(request).await.expect("an answer");
        assert_eq!(response.status(), StatusCode::OK);
        assert_eq!(response.headers()[CONTENT_TYPE], "text/plain; version=0.0.4");
        let page = response.into_body().collect().await.expect("a page").to_bytes();
        let page = String::from_utf8_lossy(&page);
        assert!(
            page.contains("netqueue_listen_drops_total{")
                && page.contains("others_total 0")
                && page.contains("process_resident_memory_bytes ")
        );
    }
}
