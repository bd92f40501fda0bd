//! One connection: HTTP/1 with a deadline for every head, told when to stop.

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    server::graceful::Watcher,
    service::TowerToHyperService,
};
use nix::sys::socket::{setsockopt, sockopt::TcpUserTimeout};
use tokio::net::TcpStream;

use super::Limits;

/// Serves the connection until it ends, or `watcher` is told to stop and the request in progress is answered.
pub(super) async fn serve(stream: TcpStream, router: Router, limits: Limits, watcher: Watcher) {
    let unacknowledged = u32::try_from(limits.unacknowledged.as_millis()).unwrap_or(u32::MAX);
    if let Err(error) = setsockopt(&stream, TcpUserTimeout, &unacknowledged) {
        tracing::debug!(%error, "a client that stops reading will hold its connection");
    }
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.header_read)
        .max_buf_size(limits.head_bytes)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router));
    if let Err(error) = watcher.watch(connection).await {
        tracing::debug!(%error, "a connection ended early");
    }
}
