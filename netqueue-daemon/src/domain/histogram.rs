//! How often a value lay between fixed bounds: mergeable, and good for percentiles.

/// Counts by upper bound; the last bucket has none. Values only grow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Histogram {
    bounds: &'static [u64],
    counts: Box<[u64]>,
    sum: u64,
}

impl Histogram {
    /// Nothing counted yet. `bounds` rise; a value equal to a bound belongs below it.
    #[must_use]
    pub fn empty(bounds: &'static [u64]) -> Self {
        Self { bounds, counts: vec![0; bounds.len() + 1].into(), sum: 0 }
    }

    /// Counts read elsewhere: one for each bound, and one for what exceeds the last. Missing ones are 0.
    #[must_use]
    pub fn from_counts(bounds: &'static [u64], counts: impl IntoIterator<Item = u64>, sum: u64) -> Self {
        let mut read = Self { sum, ..Self::empty(bounds) };
        read.counts.iter_mut().zip(counts).for_each(|(mine, count)| *mine = count);
        read
    }

    /// How many values were counted.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// All values added up.
    #[must_use]
    pub const fn sum(&self) -> u64 {
        self.sum
    }

    /// The mean; `None` where nothing was counted.
    #[must_use]
    pub fn mean(&self) -> Option<f64> {
        let count = self.count();
        (count > 0).then(|| self.sum as f64 / count as f64)
    }

    /// Each bound and how many values lay at or below it, then `None` and all of them.
    pub fn cumulative(&self) -> impl Iterator<Item = (Option<u64>, u64)> + '_ {
        let bounds = self.bounds.iter().copied().map(Some).chain([None]);
        bounds.zip(&self.counts).scan(0, |below, (bound, count)| {
            *below += count;
            Some((bound, *below))
        })
    }

    /// How many values lay at or below `bound`, which must be one of the bounds to be exact.
    #[must_use]
    pub fn at_most(&self, bound: u64) -> u64 {
        self.bounds
            .iter()
            .zip(&self.counts)
            .take_while(|(own, _)| **own <= bound)
            .map(|(_, count)| count)
            .sum()
    }

    /// The value below which the share `of` (0 to 1) of all values lay, taking them to be spread evenly inside a bucket.
    /// Above the last bound it is the last bound. `None` where nothing was counted.
    #[must_use]
    pub fn quantile(&self, of: f64) -> Option<f64> {
        let total = self.count();
        if total == 0 {
            return None;
        }
        let wanted = of.clamp(0.0, 1.0) * total as f64;
        let (mut below, mut lower) = (0, 0);
        for (bound, count) in self.bounds.iter().zip(&self.counts) {
            let reached = below + count;
            if *count > 0 && reached as f64 >= wanted {
                let share = (wanted - below as f64) / *count as f64;
                return Some(lower as f64 + share * (bound - lower) as f64);
            }
            (below, lower) = (reached, *bound);
        }
        Some(lower as f64)
    }

    /// Adds what another with the same bounds counted.
    pub fn merge(&mut self, other: &Self) {
        debug_assert_eq!(self.bounds, other.bounds, "histograms of different things");
        self.counts.iter_mut().zip(&other.counts).for_each(|(mine, theirs)| *mine += theirs);
        self.sum += other.sum;
    }
}

/// How histograms are written: what was counted, by its upper bound.
pub(super) mod by_bound {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    use super::Histogram;

    #[derive(Default, Serialize, Deserialize)]
    #[serde(default)]
    struct Written {
        /// Upper bound, or none, and count.
        counts: Vec<(Option<u64>, u64)>,
        sum: u64,
    }

    /// Writes the counts that are not 0.
    pub(in crate::domain) fn write<S: Serializer>(
        histogram: &Histogram,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        let bounds = histogram.bounds.iter().copied().map(Some).chain([None]);
        let counts = bounds.zip(histogram.counts.iter().copied()).filter(|(_, count)| *count > 0).collect();
        Written { counts, sum: histogram.sum }.serialize(serializer)
    }

    /// Reads them back. A count by a bound that is none of `bounds` any more goes below the next higher one.
    pub(in crate::domain) fn read<'de, D: Deserializer<'de>>(
        bounds: &'static [u64],
        deserializer: D,
    ) -> Result<Histogram, D::Error> {
        let Written { counts, sum } = Written::deserialize(deserializer)?;
        let mut histogram = Histogram { sum, ..Histogram::empty(bounds) };
        for (bound, count) in counts {
            let place = bound.map_or(bounds.len(), |bound| bounds.partition_point(|own| *own < bound));
            if let Some(own) = histogram.counts.get_mut(place) {
                *own += count;
            }
        }
        Ok(histogram)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOUNDS: &[u64] = &[10, 20, 40];

    #[test]
    fn a_percentile_lies_inside_its_bucket() {
        let waits = Histogram::from_counts(BOUNDS, [10, 0, 10, 0], 400);
        assert_eq!(waits.quantile(0.25), Some(5.0));
        assert_eq!(waits.quantile(0.5), Some(10.0));
        assert_eq!(waits.quantile(0.75), Some(30.0));
        assert_eq!(waits.quantile(1.0), Some(40.0));
        assert_eq!(waits.mean(), Some(20.0));
    }

    #[test]
    fn what_exceeds_every_bound_is_at_least_the_last() {
        assert_eq!(Histogram::from_counts(BOUNDS, [0, 0, 0, 3], 900).quantile(0.5), Some(40.0));
    }

    #[test]
    fn where_nothing_was_counted_there_is_no_percentile() {
        assert_eq!((Histogram::empty(BOUNDS).quantile(0.5), Histogram::empty(BOUNDS).mean()), (None, None));
    }

    #[test]
    fn merged_histograms_count_like_one() {
        let mut all = Histogram::from_counts(BOUNDS, [1, 2, 3, 4], 100);
        all.merge(&Histogram::from_counts(BOUNDS, [1, 0, 0, 1], 60));
        let cumulative: Vec<_> = all.cumulative().collect();
        assert_eq!(cumulative, [(Some(10), 2), (Some(20), 4), (Some(40), 7), (None, 12)]);
        assert_eq!((all.at_most(20), all.sum()), (4, 160));
    }
}
