//! Errors of a query to a daemon, with advice.

use std::io;

use super::Server;

/// The reason why a daemon could not be queried.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// Nothing listens at the address.
    #[error(
        "nothing listens at {server}: is `netqueue daemon` running there? Name another address with --server or \
         NETQUEUE_SERVER"
    )]
    NotRunning {
        /// The server as given.
        server: Server,
    },
    /// No connection could be established.
    #[error("{server} cannot be reached: {source}")]
    Unreachable {
        /// The server as given.
        server: Server,
        /// The error of the connection attempt.
        source: io::Error,
    },
    /// The access options are missing or wrong.
    #[error("{message}")]
    Access {
        /// The problem, and the remedy.
        message: String,
    },
    /// The TLS handshake failed because one side does not trust the other.
    #[error(
        "no TLS with {server}: {source}; its certificate is checked against --server-ca or what the system trusts, and \
         against the URL's name or --server-name; it may want --client-cert"
    )]
    Tls {
        /// The server as given.
        server: Server,
        /// The error of the TLS handshake.
        source: io::Error,
    },
    /// The daemon requires a user and a password, and these are missing or wrong.
    #[error("{server} wants a user and a password it knows: --user and --password-file")]
    Unauthorized {
        /// The server as given.
        server: Server,
    },
    /// The daemon did not answer in time.
    #[error(
        "{server} {what} within {seconds} s: it is overloaded, stopped, or something between drops packets"
    )]
    TimedOut {
        /// The server as given.
        server: Server,
        /// The step that did not complete, as the predicate of the message.
        what: &'static str,
        /// The time limit, in seconds.
        seconds: u64,
    },
    /// The host name does not resolve.
    #[error("the name {host:?} cannot be looked up: {source}")]
    Lookup {
        /// The name.
        host: String,
        /// The error of the lookup.
        source: io::Error,
    },
    /// The host is a name, and this static binary has no resolver.
    #[error("{host:?} is a name, and this static binary cannot look names up: write its IP address")]
    NoResolver {
        /// The name.
        host: String,
    },
    /// The connection broke, or the answer was not HTTP.
    #[error(
        "what listens at {server} did not answer in HTTP, or broke off ({detail}): is that netqueue's port?"
    )]
    NotHttp {
        /// The server as given.
        server: Server,
        /// The error of the HTTP client.
        detail: String,
    },
    /// The answer was HTTP, but not netqueue's.
    #[error("what answers at {server} is not netqueue ({detail}): is that netqueue's port?")]
    NotNetqueue {
        /// The server as given.
        server: Server,
        /// The part of the answer that netqueue would not send.
        detail: String,
    },
    /// The daemon refused the query.
    #[error("{message}")]
    Refused {
        /// The HTTP status.
        code: u16,
        /// The error message in the daemon's words.
        message: String,
    },
    /// The daemon is of another version, and its answer does not fit this one.
    #[error(
        "netqueue at {server} is version {daemon}, this is {ours}, and they do not understand each other ({detail}): \
         use the same version"
    )]
    Version {
        /// The server as given.
        server: Server,
        /// The daemon's version.
        daemon: String,
        /// This program's version.
        ours: &'static str,
        /// The part of the answer that did not fit.
        detail: String,
    },
}

impl ClientError {
    /// Returns whether the command line is at fault: the daemon understood the query and refused it.
    #[must_use]
    pub const fn is_refusal(&self) -> bool {
        matches!(
            self,
            Self::Refused { code: 400..=499, .. } | Self::Access { .. } | Self::Unauthorized { .. }
        )
    }
}
