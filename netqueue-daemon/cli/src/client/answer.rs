//! Answers of a daemon, parsed and as raw JSON.

use netqueue_api::{Envelope, Problem};
use serde::Deserialize;
use serde_json::Value;

/// An answer of the daemon, both parsed and raw.
#[derive(Clone, Debug)]
pub struct Answer<T> {
    /// The parsed answer.
    pub envelope: Envelope<T>,
    /// The JSON as the daemon sent it, which `--json` prints, including fields unknown to this version.
    pub raw: Value,
}

/// The one field of a status that every version of the daemon sends.
#[derive(Clone, Debug, Deserialize)]
pub struct Version {
    /// The daemon's version.
    pub version: String,
}

/// Returns whether a 404 means an unknown path, as opposed to an unknown listener.
pub(super) fn is_unknown_path(problem: &Problem) -> bool {
    problem.error.starts_with("there is nothing at")
}
