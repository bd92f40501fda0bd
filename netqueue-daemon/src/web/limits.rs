//! What one client, and all of them together, may take.

use std::time::Duration;

/// Bounds of the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Connections served at once; more wait to be accepted. Far more than those who mean to ask: the others must not
    /// keep them waiting until they are shed.
    pub connections: usize,
    /// How long a client may take to send a request's head, the first or the next on its connection.
    pub header_read: Duration,
    /// How long a request may take to be answered.
    pub request: Duration,
    /// How long a client may leave sent bytes unacknowledged.
    pub unacknowledged: Duration,
    /// How many bytes a request's head may have.
    pub head_bytes: usize,
    /// How many bytes a request's body may have.
    pub body_bytes: usize,
    /// How long requests in progress may take once the server is to stop.
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
            drain: Duration::from_secs(2),
        }
    }
}
