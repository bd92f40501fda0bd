//! Response of `/api/v1/timeseries`: drops, resets, connections and queue lengths over time.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Response of `/api/v1/timeseries`.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Timeseries {
    /// Start of the first step, in seconds since the epoch.
    pub start: u64,
    /// Length of a step in seconds.
    pub step: u32,
    /// Number of steps; the last one may still be in progress.
    pub steps: u64,
    /// Start of what is recorded at this resolution, RFC 3339: earlier values are missing, not 0.
    pub known_since: String,
    /// Series that are not 0 throughout.
    pub series: Vec<Series>,
}

/// One measure of one account, or summed over all accounts that match.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Series {
    /// Id of the account, see `/api/v1/listeners`; null for a sum.
    pub listener: Option<String>,
    /// Measure. `drop`, `reset`, `established`, `accepted`: count in each step.
    /// `accept_queue`, `syn_queue`: largest length in each step.
    pub measure: String,
    /// Cause of the drops or resets; null for other measures.
    pub cause: Option<String>,
    /// Packet of the handshake that was dropped: `syn`, `ack` or `cookie_ack`; null for other measures.
    pub stage: Option<String>,
    /// Start of the first step, in seconds since the epoch.
    pub start: u64,
    /// Length of a step in seconds.
    pub step: u32,
    /// Values, one for each step.
    pub values: Vec<u64>,
}
