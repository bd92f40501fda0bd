//! Traffic of a listener: connections, queue lengths, waits.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Traffic of a listener since netqueue attached.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct Traffic {
    /// Connections that entered the accept queue.
    pub established: u64,
    /// Connections that accept() took from the queue; null if accept() is not observed.
    pub accepted: Option<u64>,
    /// Connections that were still in the accept queue when the listener was closed; null if accept() is
    /// not observed.
    pub abandoned: Option<u64>,
    /// SYN-ACKs sent again.
    pub synack_retransmits: u64,
    /// Largest length of the accept queue; null if it is not measured.
    pub accept_queue_peak: Option<QueuePeak>,
    /// Largest length of the SYN queue.
    pub syn_queue_peak: QueuePeak,
    /// Distribution of the accept queue length, one value per connection that entered it; null if it is not
    /// measured.
    pub accept_queue_depth: Option<Distribution>,
    /// Distribution of the time in seconds that accepted connections waited; null if accept() is not
    /// observed.
    pub accept_wait_seconds: Option<Distribution>,
    /// Accepted connections whose wait could not be measured; null if accept() is not observed.
    pub accept_wait_unmeasured: Option<u64>,
}

/// Largest length of a queue.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct QueuePeak {
    /// Maximum since the last scrape of the metrics page.
    pub since_scrape: u32,
    /// Maximum in the last 60 seconds; not reset by scrapes.
    pub last_minute: u32,
}

/// Distribution of values. Percentiles assume that the values of one bucket are spread evenly.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct Distribution {
    /// Number of values.
    pub count: u64,
    /// Mean; null if there are no values.
    pub mean: Option<f64>,
    /// Median; null if there are no values.
    pub p50: Option<f64>,
    /// 90th percentile; null if there are no values.
    pub p90: Option<f64>,
    /// 99th percentile; null if there are no values.
    pub p99: Option<f64>,
    /// Buckets that are not empty, in rising order.
    pub buckets: Vec<Bucket>,
}

/// Number of values between two bounds of the distribution.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Bucket {
    /// Upper bound, inclusive; null for the last bucket, which has none.
    pub le: Option<f64>,
    /// Number of values in this bucket alone, not cumulative.
    pub count: u64,
}
