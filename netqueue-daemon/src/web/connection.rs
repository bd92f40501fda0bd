//! Service of one connection.
//!
//! TLS if configured, then HTTP/1 with a deadline for every head, until a watcher stops it.

use std::io;

use axum::Router;
use hyper::{
    Request,
    body::Incoming,
    server::conn::http1,
    service::{Service as _, service_fn},
};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    server::graceful::Watcher,
    service::TowerToHyperService,
};
use nix::sys::socket::{setsockopt, sockopt::TcpUserTimeout};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    time::timeout,
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};

use super::{AuthConfig, Limits, access::CameInAt, tls::Tls};

/// Serves a connection until it ends, or until `watcher` stops it after the request in progress.
pub(super) async fn serve(
    stream: TcpStream,
    router: Router,
    limits: Limits,
    secured: &AuthConfig,
    watcher: Watcher,
) {
    let unacknowledged = u32::try_from(limits.unacknowledged.as_millis()).unwrap_or(u32::MAX);
    if let Err(error) = setsockopt(&stream, TcpUserTimeout, &unacknowledged) {
        tracing::debug!(%error, "a client that stops reading will hold its connection");
    }
    let Ok(address) = stream.local_addr() else { return };
    let at = CameInAt(address.ip());
    match &secured.current().tls {
        None => speak(stream, router, at, limits, watcher).await,
        Some(tls) => match timeout(limits.header_read, shake_hands(stream, tls)).await {
            Ok(Ok(stream)) => speak(stream, router, at, limits, watcher).await,
            Ok(Err(error)) => tracing::debug!(%error, "a TLS handshake failed"),
            Err(_elapsed) => tracing::debug!("a TLS handshake took too long"),
        },
    }
}

async fn shake_hands(stream: TcpStream, tls: &Tls) -> io::Result<TlsStream<TcpStream>> {
    let stream = TlsAcceptor::from(tls.server.clone()).accept(stream).await?;
    if tls.admits(stream.get_ref().1.peer_certificates()) {
        Ok(stream)
    } else {
        Err(io::Error::new(
            io::ErrorKind::PermissionDenied,
            "the certificate has none of client_allowed_sans",
        ))
    }
}

async fn speak(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    router: Router,
    at: CameInAt,
    limits: Limits,
    watcher: Watcher,
) {
    // Wraps each request; a layer of the router would be built anew for every connection, even one without
    // requests.
    let router = TowerToHyperService::new(router);
    let service = service_fn(move |mut request: Request<Incoming>| {
        request.extensions_mut().insert(at);
        router.call(request)
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.header_read)
        .max_buf_size(limits.head_bytes)
        .serve_connection(TokioIo::new(stream), service);
    if let Err(error) = watcher.watch(connection).await {
        tracing::debug!(%error, "a connection ended early");
    }
}
