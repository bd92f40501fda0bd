//! Targets of spike alerts: a kind and an endpoint, parsed once.

use std::{fmt, net::SocketAddr, str::FromStr, time::Duration};

use hyper::Uri;

/// Kind of a target, which decides path and format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Alertmanager, through its API v2.
    Alertmanager,
    /// Any receiver of Alertmanager's webhook format.
    Webhook,
}

impl Kind {
    /// Returns the value of the label.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Alertmanager => "alertmanager",
            Self::Webhook => "webhook",
        }
    }

    /// Interval at which active spikes are repeated.
    /// An Alertmanager considers an alert resolved if it does not receive it for five minutes.
    pub(super) const fn refresh(self) -> Option<Duration> {
        match self {
            Self::Alertmanager => Some(Duration::from_secs(60)),
            Self::Webhook => None,
        }
    }
}

/// Endpoint without its kind: `http://ADDRESS:PORT/PATH`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WebhookEndpoint {
    address: SocketAddr,
    path: String,
}

impl FromStr for WebhookEndpoint {
    type Err = ();

    fn from_str(url: &str) -> Result<Self, ()> {
        let uri: Uri = url.parse().map_err(drop)?;
        let address = uri.authority().ok_or(())?.as_str().parse().map_err(drop)?;
        let path = uri.path_and_query().map_or("/", |path| path.as_str()).to_owned();
        if uri.scheme_str() == Some("http") { Ok(Self { address, path }) } else { Err(()) }
    }
}

/// Endpoint and its kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    kind: Kind,
    place: WebhookEndpoint,
}

impl Target {
    /// Target of this kind at `place`.
    #[must_use]
    pub const fn new(kind: Kind, place: WebhookEndpoint) -> Self {
        Self { kind, place }
    }

    /// Returns the kind.
    #[must_use]
    pub const fn kind(&self) -> Kind {
        self.kind
    }

    pub(super) const fn address(&self) -> SocketAddr {
        self.place.address
    }

    /// Returns the path to post to.
    pub(super) fn path(&self) -> String {
        match self.kind {
            Kind::Alertmanager => format!("{}/api/v2/alerts", self.place.path.trim_end_matches('/')),
            Kind::Webhook => self.place.path.clone(),
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} http://{}{}", self.kind.as_str(), self.place.address, self.place.path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_alertmanager_behind_a_prefix_is_found() {
        let target = |url: &str| Target::new(Kind::Alertmanager, url.parse().expect("a place"));
        assert_eq!(target("http://10.0.0.7:9093").path(), "/api/v2/alerts");
        assert_eq!(target("http://[::1]:9093/am/").path(), "/am/api/v2/alerts");
        assert_eq!(target("http://[::1]:9093/am/").address(), "[::1]:9093".parse().expect("an address"));
    }

    #[test]
    fn what_is_no_plain_address_is_refused() {
        for wrong in
            ["https://10.0.0.7:9093", "http://alertmanager:9093", "http://10.0.0.7", "10.0.0.7:9093", ""]
        {
            assert!(wrong.parse::<WebhookEndpoint>().is_err(), "{wrong}");
        }
    }
}
