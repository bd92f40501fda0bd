//! Envelope of every successful response, and the problem of a refused request.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Successful response.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Envelope<T> {
    /// Always `success`.
    #[serde(default)]
    pub status: String,
    /// Result of the request.
    pub data: T,
    /// Sentences about what impairs the result: losses, probes that are not attached, omissions.
    #[serde(default)]
    pub warnings: Vec<String>,
    /// Period for which events are kept, and what is missing from it.
    #[serde(default)]
    pub coverage: Coverage,
}

/// Period for which events are kept, and what is missing from it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct Coverage {
    /// Start of the period for which events are kept, RFC 3339.
    pub since: String,
    /// Time of the snapshot from which the request was answered, RFC 3339.
    pub taken: String,
    /// Number of events kept.
    pub events_held: u64,
    /// Number of events that were evicted to make room for newer ones.
    pub events_evicted: u64,
    /// Number of events not sent because their account had exceeded its rate limit; the counts include
    /// them.
    pub events_suppressed: u64,
    /// Number of events and charges that were lost; `/api/v1/status` has them by reason.
    pub events_lost: u64,
    /// Times when netqueue did not run, oldest first.
    /// Only with an event log on disk (`--event-log`), and only between runs whose events are still kept.
    pub gaps: Vec<Gap>,
}

/// Time in which netqueue did not run.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Gap {
    /// Time of the earlier run's last write to its event log, RFC 3339.
    pub since: String,
    /// Start of the next run, RFC 3339.
    pub until: String,
    /// Sequence number of the last event before the gap.
    pub after: u64,
    /// `stopped`: the run ended cleanly, no event is missing.
    /// `killed`: it did not, and events of its last second may be missing.
    pub reason: String,
}

/// Last line of an NDJSON response: the envelope of the items on the lines before it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct Page {
    /// Sentences about what impairs the result, as in the JSON response.
    pub warnings: Vec<String>,
    /// Period for which events are kept and what is missing from it, as in the JSON response.
    pub coverage: Coverage,
    /// Cursor of the next page; null at the end, and for responses that have no pages.
    pub next: Option<String>,
}

/// Refused request: RFC 9457 problem details, and the members that Prometheus clients expect.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Problem {
    /// Always `about:blank`: the status code alone identifies the kind of problem.
    #[serde(default)]
    pub r#type: String,
    /// Reason phrase of the status code.
    #[serde(default)]
    pub title: String,
    /// Always `error`, the counterpart of `success` in other responses.
    #[serde(default)]
    pub status: String,
    /// Description of what was wrong and what would be valid.
    #[serde(default)]
    pub detail: String,
    /// Kind of error: `bad_data`, `not_found`, `method_not_allowed`, `not_acceptable`, `too_many_requests`
    /// or `unavailable`.
    #[serde(default)]
    pub error_type: String,
    /// Copy of `detail`, under the name that Prometheus clients expect.
    pub error: String,
    /// Query parameter at fault; absent if it is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parameter: Option<String>,
    /// Value of that parameter; absent if no parameter is at fault.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
}
