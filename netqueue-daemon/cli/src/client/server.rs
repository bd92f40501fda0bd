//! The address of the daemon, parsed from `--server`.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    str::FromStr,
    sync::Arc,
};

use hyper::Uri;

use super::ClientError;

/// A daemon's address, as the user gave it and parsed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Server(Arc<Parts>);

#[derive(Debug, PartialEq, Eq)]
struct Parts {
    url: String,
    host: String,
    port: u16,
    prefix: String,
    https: bool,
}

impl Server {
    /// The port a daemon listens on by default.
    const DEFAULT_PORT: u16 = 10124;

    /// The port the daemon listens on.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.0.port
    }

    /// Returns whether the server is reached over TLS.
    pub(super) fn is_https(&self) -> bool {
        self.0.https
    }

    /// The host's name or address, without brackets.
    pub(super) fn host(&self) -> &str {
        self.0.host.trim_start_matches('[').trim_end_matches(']')
    }

    /// Returns whether the server is on this machine: only there may a password travel without TLS.
    pub(super) fn is_loopback(&self) -> bool {
        self.host().eq_ignore_ascii_case("localhost")
            || self.host().parse::<IpAddr>().is_ok_and(|ip| ip.to_canonical().is_loopback())
    }

    /// The value of the `Host` header.
    pub(super) fn authority(&self) -> String {
        format!("{}:{}", self.0.host, self.0.port)
    }

    /// The path to request, with the prefix under which a proxy may serve netqueue.
    pub(super) fn path(&self, path_and_query: &str) -> String {
        format!("{}{path_and_query}", self.0.prefix)
    }

    /// The addresses to try, in order.
    pub(super) async fn addresses(&self) -> Result<Vec<SocketAddr>, ClientError> {
        let bare = self.host();
        if let Ok(ip) = bare.parse::<IpAddr>() {
            return Ok(vec![SocketAddr::new(ip, self.0.port)]);
        }
        if bare.eq_ignore_ascii_case("localhost") {
            return Ok(vec![SocketAddr::new(Ipv4Addr::LOCALHOST.into(), self.0.port)]);
        }
        if cfg!(target_feature = "crt-static") {
            // A static C library resolves names by loading a shared one, which may be absent or of another
            // version.
            return Err(ClientError::NoResolver { host: bare.to_owned() });
        }
        match tokio::net::lookup_host((bare, self.0.port)).await {
            Ok(found) => Ok(found.collect()),
            Err(source) => Err(ClientError::Lookup { host: bare.to_owned(), source }),
        }
    }
}

impl FromStr for Server {
    type Err = String;

    fn from_str(url: &str) -> Result<Self, String> {
        let expected = "expected http://HOST:PORT or https://HOST:PORT, for example http://127.0.0.1:10124";
        // People often omit the scheme and type `127.0.0.1:10124`.
        let full = if url.contains("://") { url.to_owned() } else { format!("http://{url}") };
        let uri: Uri = full.parse().map_err(|_| expected.to_owned())?;
        let https = match uri.scheme_str() {
            Some("http") => false,
            Some("https") => true,
            _ => return Err(expected.to_owned()),
        };
        if full.contains('@') {
            return Err(format!("{expected}; a user is named with --user and --password-file"));
        }
        let host = uri.host().filter(|host| !host.is_empty()).ok_or(expected)?;
        if uri.query().is_some() {
            return Err(format!("{expected}, without a query"));
        }
        let prefix = uri.path().trim_end_matches('/').to_owned();
        let after_host = uri.authority().and_then(|authority| authority.as_str().rsplit_once(host));
        let port = match after_host {
            None | Some((_, "")) => Self::DEFAULT_PORT,
            Some((_, rest)) => rest.strip_prefix(':').and_then(|port| port.parse().ok()).ok_or(expected)?,
        };
        let url = full.trim_end_matches('/').to_owned();
        Ok(Self(Arc::new(Parts { host: host.to_owned(), port, prefix, url, https })))
    }
}

impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.url)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server(url: &str) -> Server {
        url.parse().expect(url)
    }

    #[tokio::test]
    async fn a_server_is_where_it_says() {
        for (url, address) in [
            ("http://127.0.0.1:10124", "127.0.0.1:10124"),
            ("http://[::1]:80/", "[::1]:80"),
            ("10.0.0.7", "10.0.0.7:10124"),
            ("localhost:81", "127.0.0.1:81"),
        ] {
            assert_eq!(server(url).addresses().await.expect(url), [address.parse().expect("an address")]);
        }
    }

    #[test]
    fn a_proxys_folder_is_kept() {
        let server = server("http://gate:8000/netqueue/");
        assert_eq!(server.path("/api/v1/status"), "/netqueue/api/v1/status");
        assert_eq!(server.to_string(), "http://gate:8000/netqueue");
    }

    #[test]
    fn what_is_no_server_is_refused_with_an_example() {
        for wrong in [
            "",
            "https://",
            "http://ops:secret@h:1",
            "ftp://h:1",
            "http://",
            "http://h:99999",
            "http://h:",
            "http://h:1/?a=b",
            "a b",
        ] {
            let error = wrong.parse::<Server>().expect_err(wrong);
            assert!(error.contains("http://127.0.0.1:10124"), "{wrong}: {error}");
        }
    }
}
