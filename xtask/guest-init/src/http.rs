//! Minimal HTTP client: one GET over plain TCP, enough to poll a daemon.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context, Result};

/// Response to a GET.
#[derive(Debug, PartialEq, Eq)]
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// Everything after the headers.
    pub body: String,
}

/// Sends a GET for `path` and returns the response.
/// The request is HTTP/1.0, so that the response is not chunked and ends with the connection.
///
/// # Errors
///
/// If no response arrives in time, or if it is not HTTP.
pub fn get(address: SocketAddr, path: &str, limit: Duration) -> Result<Answer> {
    let mut stream = TcpStream::connect_timeout(&address, limit)
        .with_context(|| format!("nobody answers at {address}"))?;
    stream.set_read_timeout(Some(limit))?;
    stream.set_write_timeout(Some(limit))?;
    // In one write: a server that closes before it read the rest would reset the connection.
    let request = format!("GET {path} HTTP/1.0\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes())?;
    let mut said = Vec::new();
    stream
        .read_to_end(&mut said)
        .with_context(|| format!("{address} did not finish its answer to {path}"))?;
    parse(&String::from_utf8_lossy(&said))
        .with_context(|| format!("{address} does not answer {path} in HTTP"))
}

fn parse(said: &str) -> Option<Answer> {
    let (head, body) = said.split_once("\r\n\r\n")?;
    let status = head.strip_prefix("HTTP/")?.split_whitespace().nth(1)?.parse().ok()?;
    Some(Answer { status, body: body.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn status_and_body_are_told_apart() {
        let answer = parse("HTTP/1.0 503 Service Unavailable\r\nA: b\r\n\r\nnot yet\n").unwrap();
        assert_eq!(answer, Answer { status: 503, body: "not yet\n".to_owned() });
        assert_eq!(parse("SSH-2.0-x\r\n\r\n"), None);
    }
}
