//! Traffic of each listener: connections, queue lengths, and the wait for accept().

use netqueue_domain::{Features, Histogram, Traffic};

use super::{
    family::{Distribution, Family, Scraped, count},
    series::LABELS,
    text::Kind,
};

static ESTABLISHED: Family<4> = Family {
    name: "netqueue_connections_established_total",
    help: "Connections that entered a listener's accept queue.",
    kind: Kind::Counter,
    labels: LABELS,
};

static ACCEPTED: Family<4> = Family {
    name: "netqueue_connections_accepted_total",
    help: "Connections that accept() took out of a listener's accept queue.",
    kind: Kind::Counter,
    labels: LABELS,
};

static ABANDONED: Family<4> = Family {
    name: "netqueue_connections_abandoned_total",
    help: "Connections reset in the accept queue because the listener was closed; their wait is not measured.",
    kind: Kind::Counter,
    labels: LABELS,
};

static UNMEASURED: Family<4> = Family {
    name: "netqueue_accept_wait_unmeasured_total",
    help: "Accepted connections whose wait could not be measured; netqueue_accept_wait_seconds does not include them.",
    kind: Kind::Counter,
    labels: LABELS,
};

static SYNACKS: Family<4> = Family {
    name: "netqueue_synack_retransmits_total",
    help: "SYN-ACKs a listener retransmitted because the ACK did not arrive or was dropped.",
    kind: Kind::Counter,
    labels: LABELS,
};

static ACCEPT_PEAK: Family<4> = Family {
    name: "netqueue_accept_queue_peak",
    help: "Maximum accept queue length since the last scrape, sampled at each arrival.",
    kind: Kind::Gauge,
    labels: LABELS,
};

static ACCEPT_WINDOW_PEAK: Family<4> = Family {
    name: "netqueue_accept_queue_window_peak",
    help: "Maximum accept queue length in the last 60 seconds; not reset by scrapes.",
    kind: Kind::Gauge,
    labels: LABELS,
};

static SYN_PEAK: Family<4> = Family {
    name: "netqueue_syn_queue_peak",
    help: "Maximum SYN queue length since the last scrape, sampled once a second and at each drop.",
    kind: Kind::Gauge,
    labels: LABELS,
};

static DEPTH: Family<4> = Family {
    name: "netqueue_accept_queue_depth",
    help: "Accept queue length at each arrival, the arriving connection included.",
    kind: Kind::Histogram,
    labels: LABELS,
};

static WAIT: Family<4> = Family {
    name: "netqueue_accept_wait_seconds",
    help: "Time accepted connections spent in the accept queue.",
    kind: Kind::Histogram,
    labels: LABELS,
};

/// Buckets of [`DEPTH`] on the page; each must be one of [`Traffic::DEPTHS`].
const DEPTHS: &[u64] = &[1, 4, 16, 64, 256, 1024, 4096, 16_384];

/// Buckets of [`WAIT`] on the page, in microseconds; each must be one of [`Traffic::WAITS`].
const WAITS: &[u64] = &[
    100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000,
    2_500_000, 5_000_000, 10_000_000, 25_000_000, 60_000_000,
];

/// Returns the families of every listener; those that are not observed have no samples.
pub(super) fn families(features: Features) -> Vec<Scraped> {
    let number = |family: &'static Family<4>, observed: bool, number: fn(&Traffic) -> u64| {
        family.of_series(move |_, series, lines| {
            let number = number(&series.traffic);
            if observed && (series.listener || number > 0) {
                lines.sample(series, [], count(number));
            }
        })
    };
    let histogram = |family: &'static Family<4>, bounds, to_one, of: fn(&Traffic) -> &Histogram| {
        family.of_series(move |_, series, lines| {
            let values = of(&series.traffic);
            if values.count() > 0 {
                lines.distribution(series, &distribution(values, bounds, to_one));
            }
        })
    };
    let Features { traffic, queue_depth: depth, accept_wait: wait } = features;
    vec![
        number(&ESTABLISHED, traffic, |traffic| traffic.established),
        number(&ACCEPTED, wait, |traffic| traffic.accepted),
        number(&ABANDONED, wait, |traffic| traffic.abandoned),
        number(&UNMEASURED, wait, |traffic| traffic.unmeasured),
        number(&SYNACKS, traffic, |traffic| traffic.synack_retransmits),
        number(&ACCEPT_PEAK, depth, |traffic| traffic.accept_peak.since_scrape.into()),
        number(&ACCEPT_WINDOW_PEAK, depth, |traffic| traffic.accept_peak.window.into()),
        number(&SYN_PEAK, traffic, |traffic| traffic.syn_peak.since_scrape.into()),
        histogram(&DEPTH, DEPTHS, 1.0, |traffic| &traffic.depth),
        histogram(&WAIT, WAITS, 1e6, |traffic| &traffic.wait),
    ]
}

/// Converts a distribution of values of which `to_one` make one of the unit shown.
fn distribution(values: &Histogram, bounds: &[u64], to_one: f64) -> Distribution {
    Distribution {
        buckets: bounds.iter().map(|bound| (*bound as f64 / to_one, values.at_most(*bound))).collect(),
        count: values.count(),
        sum: values.sum() as f64 / to_one,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_bucket_that_is_shown_is_counted_exactly() {
        assert!(DEPTHS.iter().all(|bound| Traffic::DEPTHS.contains(bound)));
        assert!(WAITS.iter().all(|bound| Traffic::WAITS.contains(bound)));
    }
}
