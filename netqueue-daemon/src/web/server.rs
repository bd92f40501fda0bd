//! Server socket: accepts no more connections than allowed, and stops within bounds.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use axum::{Router, http::StatusCode, middleware::from_fn_with_state};
use socket2::{Domain, Socket, Type};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore, watch},
    task::JoinSet,
};
use tower_http::{limit::RequestBodyLimitLayer, timeout::TimeoutLayer};

use super::{
    AuthConfig, Exposure, Limits,
    connection::{self, Stopping},
    guard::{Guard, guard},
};

/// Reason why the server cannot listen.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// The address is in use.
    #[error(
        "address {0} is in use, perhaps by another netqueue: stop what listens there (`ss -ltnp 'sport = :{port}'`) \
         or choose another address with --web.listen-address",
        port = .0.port()
    )]
    InUse(SocketAddr),
    /// No interface has that address.
    #[error("address {0} is not one of this host's: choose one that is with --web.listen-address")]
    NotLocal(SocketAddr),
    /// The port is below 1024.
    #[error(
        "listening on {0} is not permitted: choose a port of 1024 or above with --web.listen-address, or grant \
         CAP_NET_BIND_SERVICE"
    )]
    NotPermitted(SocketAddr),
    /// Any other error.
    #[error("cannot listen on {address}, set with --web.listen-address")]
    Other {
        /// Address and port.
        address: SocketAddr,
        /// Error of the system.
        source: io::Error,
    },
}

/// Server that listens and does not answer yet.
#[derive(Debug)]
pub struct Server {
    listener: std::net::TcpListener,
    address: SocketAddr,
    limits: Limits,
    secured: Arc<AuthConfig>,
}

/// Outcome of stopping a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Drained {
    /// Connections that were cut because their request was not answered in time.
    pub cut: usize,
}

/// Listens on `address`, with the web configuration `secured`.
///
/// # Errors
///
/// The address cannot be listened on; the error has the remedy.
pub fn bind(address: SocketAddr, secured: Arc<AuthConfig>) -> Result<Server, BindError> {
    let other = |source: io::Error| match source.kind() {
        io::ErrorKind::AddrInUse => BindError::InUse(address),
        io::ErrorKind::AddrNotAvailable => BindError::NotLocal(address),
        io::ErrorKind::PermissionDenied => BindError::NotPermitted(address),
        _ => BindError::Other { address, source },
    };
    let listener = listen(address).map_err(other)?;
    let address = listener.local_addr().map_err(other)?;
    Ok(Server { listener, address, limits: Limits::default(), secured })
}

fn listen(address: SocketAddr) -> io::Result<std::net::TcpListener> {
    /// Connections that may wait to be accepted while the limit is reached.
    const BACKLOG: i32 = 1024;
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

impl Server {
    /// Replaces the limits.
    #[must_use]
    pub fn with_limits(self, limits: Limits) -> Self {
        Self { limits, ..self }
    }

    /// Returns the address it listens on, with the actual port even if 0 was requested.
    #[must_use]
    pub const fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// Serves `router` to clients that `exposure` admits, until `shutdown` is ready.
    /// Then takes no further connections, and answers the requests of those it has, within [`Limits::drain`].
    ///
    /// # Errors
    ///
    /// The runtime cannot watch the socket.
    pub async fn serve(
        self,
        router: Router,
        exposure: Exposure,
        shutdown: impl Future<Output = ()>,
    ) -> io::Result<Drained> {
        let Self { listener, limits, secured, .. } = self;
        let listener = TcpListener::from_std(listener)?;
        let doorman = Guard { secured: Arc::clone(&secured), exposure: Arc::new(exposure) };
        let router = router
            .layer(from_fn_with_state(doorman, guard))
            .layer(RequestBodyLimitLayer::new(limits.body_bytes))
            .layer(TimeoutLayer::with_status_code(StatusCode::SERVICE_UNAVAILABLE, limits.request));
        let places = Arc::new(Semaphore::new(limits.connections));
        let (stop, stopping) = watch::channel(false);
        let mut connections = JoinSet::new();
        let serve = |connections: &mut JoinSet<()>, stream, place| {
            let (router, secured) = (router.clone(), Arc::clone(&secured));
            let stopping = Stopping(stopping.clone());
            connections.spawn(async move {
                connection::serve(stream, router, limits, &secured, stopping).await;
                drop(place);
            });
        };
        let mut shutdown = std::pin::pin!(shutdown);
        loop {
            tokio::select! {
                () = &mut shutdown => break,
                Some(ended) = connections.join_next() => report(ended),
                (stream, place) = accept(&listener, &places) => serve(&mut connections, stream, place),
            }
        }
        stop.send_replace(true);
        // Clients of these have connected, and may have asked: closing the listener would reset them.
        let listener = listener.into_std()?;
        while let Ok(place) = Arc::clone(&places).try_acquire_owned()
            && let Ok((stream, _)) = listener.accept()
        {
            if let Ok(stream) = stream.set_nonblocking(true).and_then(|()| TcpStream::from_std(stream)) {
                serve(&mut connections, stream, Some(place));
            }
        }
        drop(listener);
        Ok(drain(connections, limits.drain).await)
    }
}

/// Accepts the next connection, once the limit allows one more.
async fn accept(
    listener: &TcpListener,
    places: &Arc<Semaphore>,
) -> (TcpStream, Option<OwnedSemaphorePermit>) {
    /// Long enough for a file descriptor to be closed, short enough for a client not to notice.
    const PAUSE: Duration = Duration::from_millis(50);
    // `None` only if the semaphore were closed, which never happens.
    let place = Arc::clone(places).acquire_owned().await.ok();
    loop {
        match listener.accept().await {
            Ok((stream, _)) => return (stream, place),
            Err(error) => {
                tracing::warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

async fn drain(mut connections: JoinSet<()>, patience: Duration) -> Drained {
    let all_ended = async {
        while let Some(ended) = connections.join_next().await {
            report(ended);
        }
    };
    let in_time = tokio::time::timeout(patience, all_ended).await.is_ok();
    while let Some(ended) = connections.try_join_next() {
        report(ended);
    }
    let cut = connections.len();
    if !in_time {
        tracing::warn!(connections = cut, "requests were not answered in time and are cut off");
    }
    connections.shutdown().await;
    Drained { cut }
}

fn report(ended: Result<(), tokio::task::JoinError>) {
    if let Err(error) = ended {
        tracing::error!(%error, "answering a request failed");
    }
}
