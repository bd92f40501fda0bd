//! What happened over time.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// `/api/v1/timeseries`.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Timeseries {
    /// The first step's beginning, in seconds since the epoch.
    pub start: u64,
    /// Seconds in a step.
    pub step: u32,
    /// Steps, the last of which may not be over.
    pub steps: u64,
    /// Before this moment nothing is known at this resolution, RFC 3339.
    pub known_since: String,
    /// Those that are not 0 throughout.
    pub series: Vec<Series>,
}

/// One measure of one listener, or of all together.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Series {
    /// The listener's id; null where they are summed.
    pub listener: Option<String>,
    /// `drop`, `reset`, `established`, `accepted`: how many in each step. `accept_queue`, `syn_queue`: the longest in each.
    pub measure: String,
    /// Why, for drops and resets.
    pub cause: Option<String>,
    /// Where in the handshake, for drops.
    pub stage: Option<String>,
    /// The first step's beginning, in seconds since the epoch.
    pub start: u64,
    /// Seconds in a step.
    pub step: u32,
    /// One value for each step.
    pub values: Vec<u64>,
}
