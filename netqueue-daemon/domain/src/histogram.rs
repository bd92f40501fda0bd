//! Histograms with fixed bounds: mergeable, and good for percentiles.

/// Counts by upper bound; the last bucket has none. Values only grow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Histogram {
    bounds: &'static [u64],
    counts: Box<[u64]>,
    /// Sum of the values in each bucket; empty if only the sum of all is known.
    sums: Box<[u64]>,
    sum: u64,
}

impl Histogram {
    /// Creates an empty histogram. `bounds` rise; a value equal to a bound belongs below it.
    #[must_use]
    pub fn empty(bounds: &'static [u64]) -> Self {
        Self { bounds, counts: vec![0; bounds.len() + 1].into(), sums: [].into(), sum: 0 }
    }

    /// Builds a histogram from one count per bound and one for all above; missing counts are 0.
    #[must_use]
    pub fn from_counts(bounds: &'static [u64], counts: impl IntoIterator<Item = u64>, sum: u64) -> Self {
        let mut read = Self { sum, ..Self::empty(bounds) };
        read.counts.iter_mut().zip(counts).for_each(|(mine, count)| *mine = count);
        read
    }

    /// Builds a histogram that also has the sum of each bucket, which makes percentiles more accurate.
    #[must_use]
    pub fn from_sums(
        bounds: &'static [u64],
        counts: impl IntoIterator<Item = u64>,
        sums: impl IntoIterator<Item = u64>,
    ) -> Self {
        let sums: Box<[u64]> = sums.into_iter().chain(std::iter::repeat(0)).take(bounds.len() + 1).collect();
        let read = Self::from_counts(bounds, counts, sums.iter().sum());
        if read.count() > 0 { Self { sums, ..read } } else { read }
    }

    /// Returns the number of values.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// Returns the sum of all values.
    #[must_use]
    pub const fn sum(&self) -> u64 {
        self.sum
    }

    /// Returns the mean, or `None` if nothing was counted.
    #[must_use]
    pub fn mean(&self) -> Option<f64> {
        let count = self.count();
        (count > 0).then(|| self.sum as f64 / count as f64)
    }

    /// Iterates over each bound with the number of values at or below it, then `None` with all of them.
    pub fn cumulative(&self) -> impl Iterator<Item = (Option<u64>, u64)> + '_ {
        let bounds = self.bounds.iter().copied().map(Some).chain([None]);
        bounds.zip(&self.counts).scan(0, |below, (bound, count)| {
            *below += count;
            Some((bound, *below))
        })
    }

    /// Returns the number of values at or below `bound`, which must be one of the bounds to be exact.
    #[must_use]
    pub fn at_most(&self, bound: u64) -> u64 {
        self.bounds
            .iter()
            .zip(&self.counts)
            .take_while(|(own, _)| **own <= bound)
            .map(|(_, count)| count)
            .sum()
    }

    /// Estimates the value below which the share `of` (0 to 1) of all values lies. Takes the values of a
    /// bucket to be spread evenly over it, or, if their mean is known, over the widest part of it that has
    /// this mean in its middle. Above the last bound, returns their mean or else the last bound. `None` if
    /// nothing was counted.
    #[must_use]
    pub fn quantile(&self, of: f64) -> Option<f64> {
        let total = self.count();
        if total == 0 {
            return None;
        }
        let wanted = of.clamp(0.0, 1.0) * total as f64;
        let (mut below, mut lower) = (0, 0);
        for (index, (bound, count)) in self.bounds.iter().zip(&self.counts).enumerate() {
            let reached = below + count;
            if *count > 0 && reached as f64 >= wanted {
                let share = (wanted - below as f64) / *count as f64;
                let [from, to] = self.spread(index, [lower as f64, *bound as f64]);
                return Some(from + share * (to - from));
            }
            (below, lower) = (reached, *bound);
        }
        Some(self.bucket_mean(self.bounds.len()).unwrap_or(lower as f64))
    }

    /// Returns the part of a bucket over which its values are taken to be spread.
    fn spread(&self, index: usize, [from, to]: [f64; 2]) -> [f64; 2] {
        match self.bucket_mean(index) {
            Some(mean) => {
                let reach = (mean - from).min(to - mean).max(0.0);
                [mean - reach, mean + reach]
            }
            None => [from, to],
        }
    }

    fn bucket_mean(&self, index: usize) -> Option<f64> {
        let (sum, count) = (self.sums.get(index)?, self.counts.get(index)?);
        (*count > 0).then(|| *sum as f64 / *count as f64)
    }

    /// Adds the counts of another histogram with the same bounds.
    pub fn merge(&mut self, other: &Self) {
        debug_assert_eq!(self.bounds, other.bounds, "histograms of different things");
        let add = |mine: &mut [u64], theirs: &[u64]| mine.iter_mut().zip(theirs).for_each(|(a, b)| *a += b);
        // An empty histogram lacks no sums.
        match (self.sums.len(), other.sums.len()) {
            (0, _) if self.count() == 0 => self.sums = other.sums.clone(),
            (_, 0) if other.count() > 0 => self.sums = [].into(),
            _ => add(&mut self.sums, &other.sums),
        }
        add(&mut self.counts, &other.counts);
        self.sum += other.sum;
    }
}

/// Serialization of histograms: counts by their upper bounds.
pub(super) mod by_bound {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    use super::Histogram;

    #[derive(Default, Serialize, Deserialize)]
    #[serde(default)]
    struct Written {
        /// Upper bound, or `None` for the last bucket, and count.
        counts: Vec<(Option<u64>, u64)>,
        /// Sum of the values in each of these buckets, if known.
        sums: Vec<u64>,
        sum: u64,
    }

    /// Serializes the counts that are not 0.
    pub(crate) fn write<S: Serializer>(histogram: &Histogram, serializer: S) -> Result<S::Ok, S::Error> {
        let bounds = histogram.bounds.iter().copied().map(Some).chain([None]);
        let counts = bounds.zip(histogram.counts.iter().copied()).filter(|(_, count)| *count > 0).collect();
        let sums = histogram.sums.iter().zip(&histogram.counts).filter(|(_, count)| **count > 0);
        let sums = sums.map(|(sum, _)| *sum).collect();
        Written { counts, sums, sum: histogram.sum }.serialize(serializer)
    }

    /// Deserializes a histogram. A count by a bound that is not in `bounds` any more goes below the next
    /// higher one.
    pub(crate) fn read<'de, D: Deserializer<'de>>(
        bounds: &'static [u64],
        deserializer: D,
    ) -> Result<Histogram, D::Error> {
        let Written { counts, sums, sum } = Written::deserialize(deserializer)?;
        let mut histogram = Histogram { sum, ..Histogram::empty(bounds) };
        if sums.len() == counts.len() && !sums.is_empty() {
            histogram.sums = vec![0; bounds.len() + 1].into();
        }
        for (index, (bound, count)) in counts.into_iter().enumerate() {
            let place = bound.map_or(bounds.len(), |bound| bounds.partition_point(|own| *own < bound));
            if let Some(own) = histogram.counts.get_mut(place) {
                *own += count;
            }
            if let (Some(own), Some(sum)) = (histogram.sums.get_mut(place), sums.get(index)) {
                *own += sum;
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
    fn the_mean_of_a_bucket_says_where_in_it_its_values_are() {
        let waits = Histogram::from_sums(BOUNDS, [0, 0, 10, 2], [0, 0, 210, 120]);
        assert_eq!((waits.quantile(0.0), waits.quantile(5.0 / 12.0)), (Some(20.0), Some(21.0)));
        assert_eq!((waits.quantile(1.0), waits.sum()), (Some(60.0), 330));
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
    fn a_merge_with_one_that_knows_less_knows_less() {
        let known = Histogram::from_sums(BOUNDS, [0, 2, 0, 0], [0, 24, 0, 0]);
        let mut into_empty = Histogram::empty(BOUNDS);
        into_empty.merge(&known);
        assert_eq!(into_empty, known);
        into_empty.merge(&Histogram::empty(BOUNDS));
        assert_eq!(into_empty.quantile(0.5), Some(12.0));
        into_empty.merge(&Histogram::from_counts(BOUNDS, [0, 2, 0, 0], 38));
        assert_eq!((into_empty.quantile(0.5), into_empty.sum()), (Some(15.0), 62));
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
