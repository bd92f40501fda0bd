//! Traffic through a listener: connections, lengths of its queues, and the wait for accept().

use serde::{Deserialize, Deserializer, Serialize};

use super::{Histogram, Queues, histogram::by_bound};

/// One listener's healthy traffic since netqueue attached. Counts only grow.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Traffic {
    /// Connections that entered the accept queue.
    pub established: u64,
    /// Established connections that accept() took out of the queue.
    pub accepted: u64,
    /// Established connections that were in the queue when the listener was closed, which resets them.
    /// Their wait has no end, so no histogram includes it.
    pub abandoned: u64,
    /// Accepted connections whose wait could not be measured.
    pub unmeasured: u64,
    /// SYN-ACKs that were sent again.
    pub synack_retransmits: u64,
    /// Maximum length of the accept queue.
    pub accept_peak: Peak,
    /// Maximum length of the SYN queue.
    pub syn_peak: Peak,
    /// Length of the accept queue at each arrival, which it includes, by [`Self::DEPTHS`].
    #[serde(serialize_with = "by_bound::write", deserialize_with = "read_depth")]
    pub depth: Histogram,
    /// Time that accepted connections spent in the accept queue, in microseconds, by [`Self::WAITS`].
    #[serde(serialize_with = "by_bound::write", deserialize_with = "read_wait")]
    pub wait: Histogram,
}

/// Maximum length of a queue. The current lengths are in [`Queues`](super::Queues).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Peak {
    /// Maximum since the last scrape of the metrics page.
    pub since_scrape: u32,
    /// Maximum within the last minute ([`Peaks::WINDOW`](super::Peaks::WINDOW)).
    pub window: u32,
}

/// One reading of a listener from the kernel side.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TrafficReading {
    /// Counts of the listener; the peaks in them are not read.
    pub counts: Traffic,
    /// Maximum length of the accept queue since shortly before the last reading.
    pub accept_peak: u32,
    /// Current queues, if they could be read.
    pub queues: Queues,
}

impl Traffic {
    /// Upper bounds of [`Self::depth`]: connections.
    pub const DEPTHS: &[u64] = &[1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192, 16_384];

    /// Upper bounds of [`Self::wait`]: microseconds, from 100 µs to 60 s, ten for each power of ten.
    pub const WAITS: &[u64] = &[
        100, 125, 160, 200, 250, 320, 400, 500, 640, 800, //
        1_000, 1_250, 1_600, 2_000, 2_500, 3_200, 4_000, 5_000, 6_400, 8_000, //
        10_000, 12_500, 16_000, 20_000, 25_000, 32_000, 40_000, 50_000, 64_000, 80_000, //
        100_000, 125_000, 160_000, 200_000, 250_000, 320_000, 400_000, 500_000, 640_000, 800_000, //
        1_000_000, 1_250_000, 1_600_000, 2_000_000, 2_500_000, 3_200_000, 4_000_000, 5_000_000, 6_400_000,
        8_000_000, //
        10_000_000, 12_500_000, 16_000_000, 20_000_000, 25_000_000, 32_000_000, 40_000_000, 50_000_000,
        60_000_000,
    ];

    /// Adds another listener's traffic: the counts add up, of two queues the longer one counts.
    pub fn merge(&mut self, other: &Self) {
        self.established += other.established;
        self.accepted += other.accepted;
        self.abandoned += other.abandoned;
        self.unmeasured += other.unmeasured;
        self.synack_retransmits += other.synack_retransmits;
        self.accept_peak = self.accept_peak.max(other.accept_peak);
        self.syn_peak = self.syn_peak.max(other.syn_peak);
        self.depth.merge(&other.depth);
        self.wait.merge(&other.wait);
    }

    /// Returns whether nothing ever went through the listener.
    #[must_use]
    pub fn is_none(&self) -> bool {
        let counted =
            [self.established, self.accepted, self.abandoned, self.unmeasured, self.synack_retransmits];
        counted.iter().all(|count| *count == 0)
            && (self.accept_peak, self.syn_peak) == (Peak::default(), Peak::default())
            && self.depth.count() == 0
            && self.wait.count() == 0
    }

    /// Returns whether both have the same counts, whatever their peaks.
    #[must_use]
    pub fn counts_equal(&self, other: &Self) -> bool {
        (self.established, self.accepted, self.abandoned)
            == (other.established, other.accepted, other.abandoned)
            && (self.unmeasured, self.synack_retransmits) == (other.unmeasured, other.synack_retransmits)
            && self.depth == other.depth
            && self.wait == other.wait
    }

    /// Returns the wait in seconds below which the share `of` (0 to 1) of accepted connections stayed.
    #[must_use]
    pub fn wait_quantile(&self, of: f64) -> Option<f64> {
        self.wait.quantile(of).map(|micros| micros / 1e6)
    }
}

fn read_depth<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Histogram, D::Error> {
    by_bound::read(Traffic::DEPTHS, deserializer)
}

fn read_wait<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Histogram, D::Error> {
    by_bound::read(Traffic::WAITS, deserializer)
}

impl Default for Traffic {
    fn default() -> Self {
        Self {
            established: 0,
            accepted: 0,
            abandoned: 0,
            unmeasured: 0,
            synack_retransmits: 0,
            accept_peak: Peak::default(),
            syn_peak: Peak::default(),
            depth: Histogram::empty(Self::DEPTHS),
            wait: Histogram::empty(Self::WAITS),
        }
    }
}

impl Peak {
    /// Returns the maximum of both, for each member.
    #[must_use]
    pub fn max(self, other: Self) -> Self {
        Self {
            since_scrape: self.since_scrape.max(other.since_scrape),
            window: self.window.max(other.window),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_reuseport_group_the_stalled_member_shows_in_the_peak() {
        let member = |longest| {
            let accept_peak = Peak { since_scrape: longest, window: longest };
            Traffic { established: 10, accept_peak, ..Traffic::default() }
        };
        let mut group = member(3);
        group.merge(&member(17));
        group.merge(&member(5));
        assert_eq!((group.established, group.accept_peak.since_scrape), (30, 17));
    }

    #[test]
    fn bounds_rise() {
        for bounds in [Traffic::DEPTHS, Traffic::WAITS] {
            assert!(bounds.windows(2).all(|pair| pair[0] < pair[1]));
        }
    }
}
