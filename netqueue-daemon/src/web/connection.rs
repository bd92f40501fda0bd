//! Service of one connection.
//!
//! TLS if configured, then HTTP/1 with a deadline for every head, until a watcher stops it.

use std::{convert::Infallible, io, time::Duration};

use axum::Router;
use hyper::{
    Request,
    body::Incoming,
    header::{CONNECTION, HeaderValue},
    server::conn::http1,
    service::{Service as _, service_fn},
};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use nix::sys::socket::{setsockopt, sockopt::TcpUserTimeout};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    sync::watch,
    time::{sleep, timeout},
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};

use super::{AuthConfig, Limits, access::CameInAt, tls::Tls};

/// Time in which a connection of a server that stops may ask what it has not asked yet.
/// Long enough for a request that has arrived to be read; a client that asks nothing is let go.
const GRACE: Duration = Duration::from_millis(100);

/// Notice that the server stops.
#[derive(Clone)]
pub(super) struct Stopping(pub(super) watch::Receiver<bool>);

impl Stopping {
    /// Returns whether each answer is the last one of its connection.
    fn is_now(&self) -> bool {
        *self.0.borrow()
    }

    /// Waits until the server stops, and then for [`GRACE`].
    async fn grace(mut self) {
        // An error means that the server is gone.
        drop(self.0.wait_for(|stopping| *stopping).await);
        sleep(GRACE).await;
    }
}

/// Serves a connection until it ends, or until `stopping` stops it.
pub(super) async fn serve(
    stream: TcpStream,
    router: Router,
    limits: Limits,
    secured: &AuthConfig,
    stopping: Stopping,
) {
    let unacknowledged = u32::try_from(limits.unacknowledged.as_millis()).unwrap_or(u32::MAX);
    if let Err(error) = setsockopt(&stream, TcpUserTimeout, &unacknowledged) {
        tracing::debug!(%error, "a client that stops reading will hold its connection");
    }
    let Ok(address) = stream.local_addr() else { return };
    let at = CameInAt(address.ip());
    match &secured.current().tls {
        None => speak(stream, router, at, limits, stopping).await,
        Some(tls) => match timeout(limits.header_read, shake_hands(stream, tls)).await {
            Ok(Ok(stream)) => speak(stream, router, at, limits, stopping).await,
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
    stopping: Stopping,
) {
    // Wraps each request; a layer of the router would be built anew for every connection, even one without
    // requests.
    let router = TowerToHyperService::new(router);
    let noticed = stopping.clone();
    let service = service_fn(move |mut request: Request<Incoming>| {
        request.extensions_mut().insert(at);
        let (answer, stopping) = (router.call(request), noticed.clone());
        async move {
            let mut answer = answer.await?;
            if stopping.is_now() {
                answer.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
            }
            Ok::<_, Infallible>(answer)
        }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.header_read)
        .max_buf_size(limits.head_bytes)
        .serve_connection(TokioIo::new(stream), service);
    let mut connection = std::pin::pin!(connection);
    let ended = tokio::select! {
        // The connection first: it may be that it and the end of the grace are both due, on a busy machine.
        biased;
        ended = connection.as_mut() => ended,
        () = stopping.grace() => {
            // Ends at once if there is no request in progress, else after it.
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "a connection ended early");
    }
}
