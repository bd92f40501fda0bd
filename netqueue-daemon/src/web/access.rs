//! Access rules, as pure functions.
//!
//! The rules depend on the local address, the authentication in force, and the head of a request.

use std::net::{IpAddr, SocketAddr};

use super::AuthConfig;

/// Local address at which a connection came in.
#[derive(Clone, Copy, Debug)]
pub(super) struct CameInAt(pub(super) IpAddr);

/// Settings on which the access rules depend.
#[derive(Clone, Debug)]
pub struct Exposure {
    /// Address and port that netqueue listens on.
    pub address: SocketAddr,
    /// Path of the metrics page, which stays open to scrapers.
    pub telemetry_path: String,
    /// Value of `--web.allow-unauthenticated`.
    pub allow_unauthenticated: bool,
    /// Names by which clients may address this host, besides `localhost` and any address.
    pub hostnames: Vec<String>,
}

/// Reason why a request is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    /// The API would be open to the network.
    Open,
    /// The Host header has a foreign name: a page in a browser may have been led here (DNS rebinding).
    Host(String),
}

impl Exposure {
    /// Decides whether a client without authentication may request `path` with the Host header `host`.
    ///
    /// Whoever comes in at a loopback address is on this host, even if netqueue listens on all addresses. The
    /// metrics page and the two health pages contain no peer and no process id and are for machines, so
    /// everybody may read them.
    pub(super) fn judge(&self, at: CameInAt, path: &str, host: Option<&str>) -> Result<(), Refusal> {
        if path == self.telemetry_path || matches!(path, "/-/healthy" | "/-/ready") {
            return Ok(());
        }
        if !is_local(at.0) && !self.allow_unauthenticated {
            return Err(Refusal::Open);
        }
        match host {
            Some(host) if !self.is_ours(host) => Err(Refusal::Host(host.to_owned())),
            // A client without a Host header is not a browser.
            Some(_) | None => Ok(()),
        }
    }

    /// Returns the warning that the operator should see at the start, if any.
    #[must_use]
    pub fn warning(&self, secured: &AuthConfig) -> Option<&'static str> {
        let open = !is_local(self.address.ip()) && !secured.authenticates();
        open.then_some(if self.allow_unauthenticated {
            "the API names peers and processes to whoever asks: --web.allow-unauthenticated"
        } else {
            "only the metrics and health pages are served to the network; --web.config.file with users or client \
             certificates opens the rest"
        })
    }

    fn is_ours(&self, host: &str) -> bool {
        let name = without_port(host).trim_end_matches('.');
        let address = name.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>().is_ok();
        let known = |known: &str| name.eq_ignore_ascii_case(known);
        address || known("localhost") || self.hostnames.iter().any(|hostname| known(hostname))
    }
}

fn is_local(address: IpAddr) -> bool {
    address.to_canonical().is_loopback()
}

/// Strips the port from `name:port`; an IPv6 address keeps its colons.
fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) && !name.ends_with(':') => {
            if name.contains(':') && !name.starts_with('[') {
                host
            } else {
                name
            }
        }
        _ => host,
    }
}

impl Refusal {
    /// Explains to the client what was wrong and what would be right.
    pub(super) fn explain(&self) -> String {
        match self {
            Self::Open => "the API names peers and processes, and is not served to the network without \
                           authentication: set basic_auth_users or client certificates in --web.config.file, listen \
                           on 127.0.0.1, or say --web.allow-unauthenticated"
                .to_owned(),
            Self::Host(host) => format!(
                "this host is not called {host:?}: use its address, or name it with --web.hostnames \
                 (a check against DNS rebinding)"
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn exposure(address: &str) -> Exposure {
        Exposure {
            address: address.parse().expect("an address"),
            telemetry_path: "/metrics".to_owned(),
            allow_unauthenticated: false,
            hostnames: vec!["web1.example.org".to_owned()],
        }
    }

    fn at(address: &str) -> CameInAt {
        CameInAt(address.parse().expect("an address"))
    }

    #[test]
    fn on_loopback_a_page_that_was_led_here_gets_nothing() {
        let local = exposure("127.0.0.1:10124");
        for host in
            ["127.0.0.1:10124", "localhost:10124", "localhost", "[::1]:10124", "::1", "WEB1.example.org:80"]
        {
            assert_eq!(local.judge(at("127.0.0.1"), "/api/v1/events", Some(host)), Ok(()), "{host}");
        }
        assert_eq!(local.judge(at("127.0.0.1"), "/", None), Ok(()));
        for host in ["evil.example", "evil.example:10124", "localhost.evil.example", "127.0.0.1.evil.example"]
        {
            assert_eq!(local.judge(at("127.0.0.1"), "/", Some(host)), Err(Refusal::Host(host.to_owned())));
        }
    }

    #[test]
    fn the_network_may_scrape_and_not_look_around() {
        for address in ["0.0.0.0:10124", "[::]:10124", "10.1.2.3:10124"] {
            let open = exposure(address);
            for path in ["/metrics", "/-/healthy", "/-/ready"] {
                assert_eq!(open.judge(at("10.1.2.3"), path, Some("anything")), Ok(()), "{path}");
            }
            for path in ["/", "/api/v1/events", "/metrics/", "/-/reload"] {
                assert_eq!(open.judge(at("10.1.2.3"), path, Some("10.1.2.3")), Err(Refusal::Open), "{path}");
            }
        }
        for local in ["127.0.0.1", "::1", "::ffff:127.0.0.1"] {
            assert_eq!(exposure("0.0.0.0:10124").judge(at(local), "/", None), Ok(()), "{local}");
        }
    }

    #[test]
    fn who_opens_it_on_purpose_still_is_not_led_into_it() {
        let open = Exposure { allow_unauthenticated: true, ..exposure("0.0.0.0:10124") };
        assert_eq!(open.judge(at("10.1.2.3"), "/api/v1/status", Some("10.1.2.3:10124")), Ok(()));
        assert!(open.judge(at("10.1.2.3"), "/api/v1/status", Some("evil.example")).is_err());
    }
}
