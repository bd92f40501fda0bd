//! A blocking HTTP/1.1 GET, enough for a local daemon's JSON.
//! Call it from the daemon's network namespace: the lab's own namespaces do not reach the daemon.

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};

const TIMEOUT: Duration = Duration::from_secs(10);
/// Maximum size of an answer; no daemon sends as much.
const LARGEST_ANSWER: u64 = 64 << 20;

/// The address of the daemon.
#[derive(Clone, Debug)]
pub(super) struct Server {
    url: String,
    address: SocketAddr,
}

impl Server {
    /// Parses `http://ADDRESS:PORT`.
    pub(super) fn parse(url: &str) -> Result<Self> {
        let wrong =
            || anyhow!("--server {url}: expected http://ADDRESS:PORT, for example http://127.0.0.1:10124");
        let authority = url.strip_prefix("http://").ok_or_else(wrong)?.trim_end_matches('/');
        let (host, port) = authority.rsplit_once(':').ok_or_else(wrong)?;
        let port: u16 = port.parse().map_err(|_| wrong())?;
        let host = host.trim_start_matches('[').trim_end_matches(']');
        // A static binary has no resolver, and `localhost` needs none.
        let host = if host == "localhost" {
            IpAddr::from(Ipv4Addr::LOCALHOST)
        } else {
            host.parse().map_err(|_| anyhow!("--server {url}: {host} is a name; write its IP address"))?
        };
        Ok(Self { url: format!("http://{authority}"), address: SocketAddr::new(host, port) })
    }

    /// The URL as the user gave it.
    pub(super) fn url(&self) -> &str {
        &self.url
    }

    /// The port of the daemon.
    pub(super) const fn port(&self) -> u16 {
        self.address.port()
    }

    /// Returns the body of `GET path`; any status but 200 is an error.
    pub(super) fn get(&self, path: &str) -> Result<Vec<u8>> {
        let mut stream = TcpStream::connect_timeout(&self.address, TIMEOUT)?;
        stream.set_read_timeout(Some(TIMEOUT))?;
        stream.set_write_timeout(Some(TIMEOUT))?;
        let request = format!(
            "GET {path} HTTP/1.1\r\nHost: {}\r\nAccept: application/json\r\nConnection: close\r\n\r\n",
            self.address
        );
        stream.write_all(request.as_bytes())?;
        let mut answer = Vec::new();
        stream.take(LARGEST_ANSWER).read_to_end(&mut answer)?;
        body(&answer).with_context(|| format!("GET {}{path}", self.url))
    }
}

/// Extracts the body from a complete answer, according to its framing.
fn body(answer: &[u8]) -> Result<Vec<u8>> {
    let mut headers = [httparse::EMPTY_HEADER; 64];
    let mut head = httparse::Response::new(&mut headers);
    let httparse::Status::Complete(start) = head.parse(answer).context("not an HTTP answer")? else {
        bail!("the answer ends within its headers");
    };
    let rest = &answer[start..];
    let header = |name: &str| {
        let found = head.headers.iter().find(|header| header.name.eq_ignore_ascii_case(name))?;
        std::str::from_utf8(found.value).ok()
    };
    let body = if header("transfer-encoding").is_some_and(|value| value.eq_ignore_ascii_case("chunked")) {
        dechunk(rest)?
    } else if let Some(length) = header("content-length") {
        let length: usize = length.trim().parse().context("Content-Length is no number")?;
        rest.get(..length).context("the answer is shorter than its Content-Length")?.to_vec()
    } else {
        rest.to_vec()
    };
    match head.code {
        Some(200) => Ok(body),
        code => bail!("status {}: {}", code.unwrap_or(0), String::from_utf8_lossy(&body).trim()),
    }
}

fn dechunk(mut rest: &[u8]) -> Result<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let Ok(httparse::Status::Complete((start, length))) = httparse::parse_chunk_size(rest) else {
            bail!("a chunk of the answer has no size");
        };
        if length == 0 {
            return Ok(body);
        }
        let end = start + usize::try_from(length).context("a chunk of the answer is too large")?;
        body.extend(rest.get(start..end).context("the answer ends within a chunk")?);
        rest = rest.get(end + 2..).context("the answer ends after a chunk")?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_three_framings_give_the_same_body() {
        let answers: [&[u8]; 3] = [
            b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello",
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhe\r\n3;x=y\r\nllo\r\n0\r\n\r\n",
            b"HTTP/1.0 200 OK\r\n\r\nhello",
        ];
        for answer in answers {
            assert_eq!(body(answer).unwrap(), b"hello");
        }
    }

    #[test]
    fn a_refusal_keeps_the_daemon_s_words() {
        let error = body(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 12\r\n\r\nno such port").unwrap_err();
        assert_eq!(error.to_string(), "status 400: no such port");
    }

    #[test]
    fn a_cut_answer_is_an_error() {
        assert!(body(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhello").is_err());
        assert!(body(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n9\r\nhello").is_err());
        assert!(body(b"HTTP/1.1 200 OK\r\n").is_err());
    }

    #[test]
    fn the_server_is_an_address_and_a_port() {
        assert_eq!(Server::parse("http://localhost:10124/").unwrap().url(), "http://localhost:10124");
        assert_eq!(Server::parse("http://[::1]:80").unwrap().address.to_string(), "[::1]:80");
        for wrong in ["127.0.0.1:10124", "https://127.0.0.1:1", "http://127.0.0.1", "http://example.org:80"] {
            assert!(Server::parse(wrong).unwrap_err().to_string().contains(wrong));
        }
    }
}
