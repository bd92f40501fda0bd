//! What stands around every answer, and what a refusal looks like.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// A successful answer.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Envelope<T> {
    /// `success`.
    #[serde(default)]
    pub status: String,
    /// The answer.
    pub data: T,
    /// What should be known beside it: losses, probes that are not attached, what was left out.
    #[serde(default)]
    pub warnings: Vec<String>,
    /// How far the answer can be trusted.
    #[serde(default)]
    pub coverage: Coverage,
}

/// The window of events that is held, and what is missing in it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct Coverage {
    /// From when on events are held, RFC 3339.
    pub since: String,
    /// The moment of the answer, RFC 3339.
    pub taken: String,
    /// Events held.
    pub events_held: u64,
    /// Events that are no longer held.
    pub events_evicted: u64,
    /// Events that were not sent because their listener had used up its allowance.
    pub events_suppressed: u64,
    /// Events and charges that never arrived, for whatever reason; `/api/v1/status` tells them apart.
    pub events_lost: u64,
    /// When netqueue did not run, between runs whose events are held: with an event log on disk. Oldest first.
    pub gaps: Vec<Gap>,
}

/// A time in which netqueue did not run.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Gap {
    /// When the run before it wrote its event log last, RFC 3339.
    pub since: String,
    /// When the next one began, RFC 3339.
    pub until: String,
    /// The number of the last event before it.
    pub after: u64,
    /// `stopped`: the run ended properly, no event of it is missing. `killed`: it did not, and events of the last second
    /// before its end may be missing.
    pub reason: String,
}

/// The last line of an answer as NDJSON: what stands around the lines before it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct Page {
    /// As in the JSON answer.
    pub warnings: Vec<String>,
    /// As in the JSON answer.
    pub coverage: Coverage,
    /// As in the JSON answer, where it has one.
    pub next: Option<String>,
}

/// A refusal: RFC 9457, and beside its members those that Prometheus clients look for.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Problem {
    /// `about:blank`: the status code says what kind of problem it is.
    #[serde(default)]
    pub r#type: String,
    /// The status code in words.
    #[serde(default)]
    pub title: String,
    /// `error`, as every answer of this API says here how it ended.
    #[serde(default)]
    pub status: String,
    /// What was wrong and what would be right.
    #[serde(default)]
    pub detail: String,
    /// `bad_data`, `not_found`, `method_not_allowed`, `not_acceptable`, `too_many_requests` or `unavailable`.
    #[serde(default)]
    pub error_type: String,
    /// The same as `detail`.
    pub error: String,
    /// The query parameter at fault.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parameter: Option<String>,
    /// Its value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
}
