//! Why there is no answer, and what to do about it.

use std::io;

use super::Server;

/// Why a daemon could not be asked.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// Nobody listens there.
    #[error(
        "nothing listens at {server}: is `netqueue daemon` running there? Another place is named with --server or \
         NETQUEUE_SERVER"
    )]
    NotRunning {
        /// Where.
        server: Server,
    },
    /// No connection.
    #[error("{server} cannot be reached: {source}")]
    Unreachable {
        /// Where.
        server: Server,
        /// Why.
        source: io::Error,
    },
    /// The command line does not say how to get in, or says it wrongly.
    #[error("{message}")]
    Access {
        /// What was wrong and what would be right.
        message: String,
    },
    /// Who answers is not whom we trust, or does not trust us.
    #[error(
        "no TLS with {server}: {source}; its certificate is checked against --server-ca or what the system trusts, and \
         against the URL's name or --server-name; it may want --client-cert"
    )]
    Tls {
        /// Where.
        server: Server,
        /// Why.
        source: io::Error,
    },
    /// It wants a user and a password, others than these.
    #[error("{server} wants a user and a password it knows: --user and --password-file")]
    Unauthorized {
        /// Where.
        server: Server,
    },
    /// No answer in time.
    #[error(
        "{server} {what} within {seconds} s: it is overloaded, stopped, or something between drops packets"
    )]
    TimedOut {
        /// Where.
        server: Server,
        /// What it did not do.
        what: &'static str,
        /// How long it was given.
        seconds: u64,
    },
    /// A name that nobody knows.
    #[error("the name {host:?} cannot be looked up: {source}")]
    Lookup {
        /// The name.
        host: String,
        /// Why.
        source: io::Error,
    },
    /// A name, in a binary without a resolver.
    #[error("{host:?} is a name, and this static binary cannot look names up: write its IP address")]
    NoResolver {
        /// The name.
        host: String,
    },
    /// The connection broke or was no HTTP.
    #[error(
        "what listens at {server} did not answer in HTTP, or broke off ({detail}): is that netqueue's port?"
    )]
    NotHttp {
        /// Where.
        server: Server,
        /// What was wrong.
        detail: String,
    },
    /// HTTP, but not ours.
    #[error("what answers at {server} is not netqueue ({detail}): is that netqueue's port?")]
    NotNetqueue {
        /// Where.
        server: Server,
        /// What was wrong.
        detail: String,
    },
    /// The daemon said no.
    #[error("{message}")]
    Refused {
        /// The HTTP status.
        code: u16,
        /// In the daemon's words.
        message: String,
    },
    /// The daemon is of another version, and it shows.
    #[error(
        "netqueue at {server} is version {daemon}, this is {ours}, and they do not understand each other ({detail}): \
         use the same version"
    )]
    Version {
        /// Where.
        server: Server,
        /// The daemon's version.
        daemon: String,
        /// This program's.
        ours: &'static str,
        /// What was not understood.
        detail: String,
    },
}

impl ClientError {
    /// Whether the daemon understood and said no: the command line is at fault.
    #[must_use]
    pub const fn is_refusal(&self) -> bool {
        matches!(
            self,
            Self::Refused { code: 400..=499, .. } | Self::Access { .. } | Self::Unauthorized { .. }
        )
    }
}
