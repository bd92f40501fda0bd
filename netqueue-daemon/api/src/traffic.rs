//! What went through a listener.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// A listener's healthy traffic since netqueue attached.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct Traffic {
    /// Connections that entered the accept queue.
    pub established: u64,
    /// Of these: taken by accept(); null where accept() is not observed.
    pub accepted: Option<u64>,
    /// Of these: never accepted, because the listener was closed.
    pub abandoned: Option<u64>,
    /// SYN-ACKs sent again.
    pub synack_retransmits: u64,
    /// The longest the accept queue was.
    pub accept_queue_peak: Option<QueuePeak>,
    /// The longest the SYN queue was.
    pub syn_queue_peak: QueuePeak,
    /// Length of the accept queue with each connection that entered it.
    pub accept_queue_depth: Option<Distribution>,
    /// Seconds that accepted connections had waited for accept().
    pub accept_wait_seconds: Option<Distribution>,
    /// Accepted connections whose wait could not be measured.
    pub accept_wait_unmeasured: Option<u64>,
}

/// The longest a queue was.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct QueuePeak {
    /// Since the metrics page was last asked for.
    pub since_scrape: u32,
    /// Within the last 60 seconds.
    pub last_minute: u32,
}

/// Values by size. Percentiles take those of one bucket to be spread evenly.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct Distribution {
    /// How many.
    pub count: u64,
    /// Their mean.
    pub mean: Option<f64>,
    /// Half were at most this.
    pub p50: Option<f64>,
    /// Nine in ten were at most this.
    pub p90: Option<f64>,
    /// 99 in 100 were at most this.
    pub p99: Option<f64>,
    /// Those that are not empty, in rising order.
    pub buckets: Vec<Bucket>,
}

/// Values between two bounds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Bucket {
    /// Where it ends; null: it does not.
    pub le: Option<f64>,
    /// How many values were in it, and in none before.
    pub count: u64,
}
