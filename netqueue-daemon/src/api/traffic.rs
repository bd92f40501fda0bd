//! Conversion of a listener's traffic to its API representation.

use netqueue_api::{Bucket, Distribution, QueuePeak, Traffic};
use netqueue_domain::{self as domain, Features, Histogram, Peak};

/// Converts traffic; `None` if it is not observed.
pub(super) fn traffic_from(traffic: &domain::Traffic, features: Features) -> Option<Traffic> {
    let depth = features.queue_depth.then(|| distribution_from(&traffic.depth, 1.0));
    let wait = features.accept_wait.then(|| distribution_from(&traffic.wait, 1e6));
    let of_accept = |count| features.accept_wait.then_some(count);
    features.traffic.then(|| Traffic {
        established: traffic.established,
        accepted: of_accept(traffic.accepted),
        abandoned: of_accept(traffic.abandoned),
        synack_retransmits: traffic.synack_retransmits,
        accept_queue_peak: features.queue_depth.then(|| queue_peak_from(traffic.accept_peak)),
        syn_queue_peak: queue_peak_from(traffic.syn_peak),
        accept_queue_depth: depth,
        accept_wait_seconds: wait,
        accept_wait_unmeasured: of_accept(traffic.unmeasured),
    })
}

const fn queue_peak_from(peak: Peak) -> QueuePeak {
    QueuePeak { since_scrape: peak.since_scrape, last_minute: peak.window }
}

/// Converts a distribution of values of which `to_one` make one of the unit shown.
fn distribution_from(values: &Histogram, to_one: f64) -> Distribution {
    let quantile = |of| values.quantile(of).map(|value| value / to_one);
    let mut below = 0;
    let buckets = values.cumulative().filter_map(|(bound, so_far)| {
        let count = so_far - std::mem::replace(&mut below, so_far);
        (count > 0).then(|| Bucket { le: bound.map(|bound| bound as f64 / to_one), count })
    });
    let buckets = buckets.collect();
    Distribution {
        count: values.count(),
        mean: values.mean().map(|mean| mean / to_one),
        p50: quantile(0.5),
        p90: quantile(0.9),
        p99: quantile(0.99),
        buckets,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_switched_off_is_null_and_not_zero() {
        let off = Features { traffic: true, ..Features::unreported() };
        let json =
            serde_json::to_value(traffic_from(&domain::Traffic::default(), off)).expect("it serializes");
        assert_eq!((json["accepted"].is_null(), json["accept_wait_seconds"].is_null()), (true, true));
        assert_eq!((json["accept_queue_peak"].is_null(), json["accept_queue_depth"].is_null()), (true, true));
        assert_eq!(json["established"], 0);
        assert_eq!(traffic_from(&domain::Traffic::default(), Features::unreported()), None);
    }

    #[test]
    fn waits_are_seconds_and_empty_buckets_are_left_out() {
        let mut counts = vec![0; domain::Traffic::WAITS.len() + 1];
        counts[40] = 10;
        let wait = Histogram::from_counts(domain::Traffic::WAITS, counts, 9_000_000);
        let traffic = domain::Traffic { accepted: 10, wait, ..domain::Traffic::default() };
        let json = serde_json::to_value(traffic_from(&traffic, Features::default())).expect("it serializes");
        let wait = &json["accept_wait_seconds"];
        assert_eq!((&wait["mean"], &wait["p50"]), (&0.9.into(), &0.9.into()));
        assert_eq!(wait["buckets"], serde_json::json!([{"le": 1.0, "count": 10}]));
    }
}
