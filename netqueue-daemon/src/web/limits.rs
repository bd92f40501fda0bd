//! Limits of what one client, and all clients together, may use.

use std::time::Duration;

/// Time limit for requests in progress once the server stops.
/// Long enough for any answer, and short enough to leave time to what follows before a service manager
/// kills.
pub const DRAIN: Duration = Duration::from_secs(5);

/// Limits of the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Connections served at once; further ones wait to be accepted.
    /// Far more than serious clients need, so that idle or hostile ones do not delay them until their
    /// time-outs.
    pub connections: usize,
    /// Time limit for the head of a request, the first or the next on its connection.
    pub header_read: Duration,
    /// Time limit for the response to a request.
    pub request: Duration,
    /// Time limit for the acknowledgement of sent bytes.
    pub unacknowledged: Duration,
    /// Size limit of a request's head in bytes.
    pub head_bytes: usize,
    /// Size limit of a request's body in bytes.
    pub body_bytes: usize,
    /// See [`DRAIN`].
    pub drain: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 2048,
            header_read: Duration::from_secs(5),
            request: Duration::from_secs(10),
            unacknowledged: Duration::from_secs(20),
            head_bytes: 16 * 1024,
            body_bytes: 64 * 1024,
            drain: DRAIN,
        }
    }
}
