//! GET requests to a daemon, each bounded in time and size.

use std::{io, time::Duration};

use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::{
    Request, Response, StatusCode,
    body::{Bytes, Incoming},
    client::conn::http1,
    header::{ACCEPT, AUTHORIZATION, HOST, USER_AGENT},
};
use hyper_util::rt::TokioIo;
use netqueue_api::{Envelope, Problem};
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    time::timeout,
};

use super::{
    Access, ClientError, Message, Query, Server,
    access::Pass,
    answer::{Answer, Version, is_unknown_path},
    sse::Parser,
};

const CONNECT: Duration = Duration::from_secs(3);
/// Time limit of an answer; longer than the daemon itself takes before it abandons a request.
const ANSWER: Duration = Duration::from_secs(12);
/// Time limit without data on a stream; the daemon sends heartbeats far more often.
const SILENCE: Duration = Duration::from_secs(60);
/// Maximum size of an answer; no daemon sends as much.
const LARGEST: usize = 64 << 20;

/// A client of one daemon.
#[derive(Clone, Debug)]
pub struct Client {
    server: Server,
    pass: Pass,
}

impl Client {
    /// Creates a client of the daemon at `server` with the credentials in `access`; nothing is sent yet.
    ///
    /// # Errors
    /// Fails if a file named by `access` is unreadable or has the wrong content.
    pub fn new(server: Server, access: &Access) -> Result<Self, ClientError> {
        let pass = access.pass(&server).map_err(|message| ClientError::Access { message })?;
        Ok(Self { server, pass })
    }

    /// The address of the daemon.
    #[must_use]
    pub const fn server(&self) -> &Server {
        &self.server
    }

    /// Sends a query; returns the answer, parsed and as raw JSON.
    ///
    /// # Errors
    /// Fails if there is no daemon, if it refuses, or if its version's answers do not fit this one.
    pub async fn get<T: DeserializeOwned>(&self, query: &Query) -> Result<Answer<T>, ClientError> {
        let raw: Value = serde_json::from_slice(&self.body_of(query).await?)
            .map_err(|error| self.foreign(&format!("no JSON: {error}")))?;
        if raw.get("status").and_then(Value::as_str) != Some("success") {
            return Err(self.foreign("JSON without netqueue's envelope"));
        }
        match serde_json::from_value::<Envelope<T>>(raw.clone()) {
            Ok(envelope) => Ok(Answer { envelope, raw }),
            Err(error) => Err(self.misunderstood(format!("{}: {error}", query.path_and_query())).await),
        }
    }

    /// Sends a query; returns the body of the answer, whatever its format.
    ///
    /// # Errors
    /// Fails if there is no daemon, or if it refuses.
    pub async fn body_of(&self, query: &Query) -> Result<Bytes, ClientError> {
        let path = query.path_and_query();
        let (status, body) = self.fetch(&path).await?;
        if status == StatusCode::OK { Ok(body) } else { Err(self.refusal(status, &path, &body).await) }
    }

    /// Opens an answer that goes on for as long as it is read.
    ///
    /// # Errors
    /// Fails for the reasons of [`Client::body_of`].
    pub async fn open(&self, query: &Query) -> Result<Endless, ClientError> {
        self.endless(query, "*/*", None).await
    }

    /// Opens a stream of server-sent events, resumed after the message `last` where one is given.
    ///
    /// # Errors
    /// Fails for the reasons of [`Client::get`].
    pub async fn stream(&self, query: &Query, last: Option<&str>) -> Result<Stream, ClientError> {
        let body = self.endless(query, "text/event-stream", last).await?;
        Ok(Stream { body, parser: Parser::default() })
    }

    async fn endless(&self, query: &Query, accept: &str, last: Option<&str>) -> Result<Endless, ClientError> {
        let path = query.path_and_query();
        let response = self.send(&path, accept, last).await?;
        if response.status() != StatusCode::OK {
            let (status, body) = (response.status(), self.body(response).await?);
            return Err(self.refusal(status, &path, &body).await);
        }
        Ok(Endless { server: self.server.clone(), body: response.into_body() })
    }

    async fn fetch(&self, path: &str) -> Result<(StatusCode, Bytes), ClientError> {
        let work = async {
            let response = self.send(path, "application/json", None).await?;
            Ok((response.status(), self.body(response).await?))
        };
        timeout(ANSWER, work).await.unwrap_or_else(|_| Err(self.late("did not answer", ANSWER)))
    }

    async fn send(
        &self,
        path: &str,
        accept: &str,
        last: Option<&str>,
    ) -> Result<Response<Incoming>, ClientError> {
        let stream = self.connect().await?;
        let mut sender = match &self.pass.tls {
            None => self.speak(stream).await?,
            Some((connector, name)) => {
                let securing = timeout(CONNECT, connector.connect(name.clone(), stream)).await;
                let secured = securing.map_err(|_| self.late("did not agree on TLS", CONNECT))?;
                self.speak(
                    secured.map_err(|source| ClientError::Tls { server: self.server.clone(), source })?,
                )
                .await?
            }
        };
        let mut request = Request::get(self.server.path(path))
            .header(HOST, self.server.authority())
            .header(ACCEPT, accept)
            .header(USER_AGENT, concat!("netqueue/", env!("CARGO_PKG_VERSION")));
        if let Some(authorization) = &self.pass.authorization {
            request = request.header(AUTHORIZATION, authorization);
        }
        if let Some(last) = last {
            request = request.header("last-event-id", last);
        }
        let request = request.body(Empty::<Bytes>::new()).map_err(|error| ClientError::NotHttp {
            server: self.server.clone(),
            detail: error.to_string(),
        })?;
        let answer = timeout(ANSWER, sender.send_request(request)).await;
        answer.map_err(|_| self.late("did not answer", ANSWER))?.map_err(|error| self.not_http(&error))
    }

    /// Starts HTTP/1.1 on a connection.
    async fn speak(
        &self,
        stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    ) -> Result<http1::SendRequest<Empty<Bytes>>, ClientError> {
        let (sender, connection) =
            http1::handshake(TokioIo::new(stream)).await.map_err(|error| self.not_http(&error))?;
        // The request or the body reports the connection's errors as well.
        tokio::spawn(async move {
            let _reported = connection.await;
        });
        Ok(sender)
    }

    async fn connect(&self) -> Result<TcpStream, ClientError> {
        let addresses = self.server.addresses().await?;
        let connecting = timeout(CONNECT, TcpStream::connect(addresses.as_slice())).await;
        let stream = connecting.map_err(|_| self.late("did not accept a connection", CONNECT))?;
        stream.map_err(|source| match source.kind() {
            io::ErrorKind::ConnectionRefused => ClientError::NotRunning { server: self.server.clone() },
            _ => ClientError::Unreachable { server: self.server.clone(), source },
        })
    }

    async fn body(&self, response: Response<Incoming>) -> Result<Bytes, ClientError> {
        match Limited::new(response.into_body(), LARGEST).collect().await {
            Ok(body) => Ok(body.to_bytes()),
            Err(error) => {
                Err(ClientError::NotHttp { server: self.server.clone(), detail: error.to_string() })
            }
        }
    }

    /// Converts an answer whose status is not 200 into an error.
    async fn refusal(&self, status: StatusCode, path: &str, body: &[u8]) -> ClientError {
        if status == StatusCode::UNAUTHORIZED {
            return ClientError::Unauthorized { server: self.server.clone() };
        }
        let Ok(problem) = serde_json::from_slice::<Problem>(body) else {
            return self.foreign(&format!("status {} without netqueue's problem report", status.as_u16()));
        };
        if status == StatusCode::NOT_FOUND && is_unknown_path(&problem) {
            return self.misunderstood(format!("it has no {path}")).await;
        }
        ClientError::Refused { code: status.as_u16(), message: problem.error }
    }

    /// Returns the error for an answer that does not fit, with the daemon's version if it reports one.
    async fn misunderstood(&self, detail: String) -> ClientError {
        let version = match self.fetch("/api/v1/status").await {
            Ok((StatusCode::OK, body)) => serde_json::from_slice::<Envelope<Version>>(&body).ok(),
            Ok(_) | Err(_) => None,
        };
        match version {
            Some(envelope) => ClientError::Version {
                server: self.server.clone(),
                daemon: envelope.data.version,
                ours: env!("CARGO_PKG_VERSION"),
                detail,
            },
            None => self.foreign(&detail),
        }
    }

    fn foreign(&self, detail: &str) -> ClientError {
        ClientError::NotNetqueue { server: self.server.clone(), detail: detail.to_owned() }
    }

    fn not_http(&self, error: &hyper::Error) -> ClientError {
        ClientError::NotHttp { server: self.server.clone(), detail: error.to_string() }
    }

    fn late(&self, what: &'static str, limit: Duration) -> ClientError {
        ClientError::TimedOut { server: self.server.clone(), what, seconds: limit.as_secs() }
    }
}

/// An answer that has no end of its own.
#[derive(Debug)]
pub struct Endless {
    server: Server,
    body: Incoming,
}

impl Endless {
    /// The next bytes; `None` when the daemon ended the answer.
    /// Waits for as long as the daemon is silent; cancelling the call loses nothing.
    ///
    /// # Errors
    /// Fails if the connection broke.
    pub async fn next(&mut self) -> Result<Option<Bytes>, ClientError> {
        while let Some(frame) = self.body.frame().await {
            let frame = frame.map_err(|error| ClientError::NotHttp {
                server: self.server.clone(),
                detail: error.to_string(),
            })?;
            // Trailers are no data.
            if let Ok(bytes) = frame.into_data() {
                return Ok(Some(bytes));
            }
        }
        Ok(None)
    }

    /// The error of a daemon that has sent nothing for `limit`.
    #[must_use]
    pub fn silent(&self, limit: Duration) -> ClientError {
        ClientError::TimedOut {
            server: self.server.clone(),
            what: "sent nothing, not even a heartbeat,",
            seconds: limit.as_secs(),
        }
    }
}

/// An open stream of server-sent events.
#[derive(Debug)]
pub struct Stream {
    body: Endless,
    parser: Parser,
}

impl Stream {
    /// The next messages, at least one; `None` when the daemon ended the stream.
    ///
    /// # Errors
    /// Fails if the connection broke, or if the daemon has been silent for too long.
    pub async fn next(&mut self) -> Result<Option<Vec<Message>>, ClientError> {
        loop {
            let next = timeout(SILENCE, self.body.next()).await;
            let Some(bytes) = next.map_err(|_| self.body.silent(SILENCE))?? else { return Ok(None) };
            let messages = self.parser.push(&bytes);
            if !messages.is_empty() {
                return Ok(Some(messages));
            }
        }
    }
}
