//! POST of JSON over HTTP, bounded in time.

use std::{io, time::Duration};

use http_body_util::Full;
use hyper::{
    Request, StatusCode,
    body::Bytes,
    client::conn::http1,
    header::{CONTENT_TYPE, HOST, USER_AGENT},
};
use hyper_util::rt::TokioIo;
use tokio::{net::TcpStream, time::timeout};

use super::Target;

/// Time limit from the connection to the head of the response.
const LIMIT: Duration = Duration::from_secs(5);

/// Reason why a notification may not have arrived.
#[derive(Debug, thiserror::Error)]
pub(super) enum PostError {
    #[error("no connection: {0}")]
    Connect(io::Error),
    #[error("no HTTP: {0}")]
    Http(#[from] hyper::Error),
    #[error("the request cannot be written: {0}")]
    Request(#[from] hyper::http::Error),
    #[error("answered {0}")]
    Refused(StatusCode),
    #[error("no answer within {} s", LIMIT.as_secs())]
    Late,
}

/// Posts `body`; any status other than 2xx is an error.
pub(super) async fn post(target: &Target, body: String) -> Result<(), PostError> {
    timeout(LIMIT, attempt(target, body)).await.unwrap_or(Err(PostError::Late))
}

async fn attempt(target: &Target, body: String) -> Result<(), PostError> {
    let stream = TcpStream::connect(target.address()).await.map_err(PostError::Connect)?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    // Errors of the connection are reported by the request as well.
    tokio::spawn(async move {
        let _reported = connection.await;
    });
    let request = Request::post(target.path())
        .header(HOST, target.address().to_string())
        .header(CONTENT_TYPE, "application/json")
        .header(USER_AGENT, concat!("netqueue/", env!("CARGO_PKG_VERSION")))
        .body(Full::new(Bytes::from(body)))?;
    let status = sender.send_request(request).await?.status();
    if status.is_success() { Ok(()) } else { Err(PostError::Refused(status)) }
}
