//! What a client makes of an answer: understood, and as it was.

use netqueue_api::{Envelope, Problem};
use serde::Deserialize;
use serde_json::Value;

/// An answer, understood and as it was.
#[derive(Clone, Debug)]
pub struct Answer<T> {
    /// Understood.
    pub envelope: Envelope<T>,
    /// As the daemon wrote it.
    pub raw: Value,
}

/// The one member of a status that every version has.
#[derive(Clone, Debug, Deserialize)]
pub struct Version {
    /// The daemon's version.
    pub version: String,
}

/// Whether the daemon has nothing at that path, as opposed to no such listener.
pub(super) fn is_unknown_path(problem: &Problem) -> bool {
    problem.error.starts_with("there is nothing at")
}
