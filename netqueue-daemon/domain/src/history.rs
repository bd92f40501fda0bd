//! History of one account: buckets of 1, 10 and 60 seconds, in bounded memory.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Arc, LazyLock},
    time::Duration,
};

use super::{Counts, DropKind, ResetCause, Timestamp, What};

/// Quantity that is recorded over time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Measure {
    /// Number of drops of a kind, or of resets for a cause.
    Charged(What),
    /// Number of connections that entered the accept queue.
    Established,
    /// Number of connections that accept() took out.
    Accepted,
    /// Maximum length of the accept queue.
    AcceptQueue,
    /// Maximum length of the SYN queue.
    SynQueue,
}

impl Measure {
    /// Returns whether buckets contain a maximum rather than a sum.
    #[must_use]
    pub const fn is_peak(self) -> bool {
        matches!(self, Self::AcceptQueue | Self::SynQueue)
    }

    /// Returns the index of the measure among all measures.
    const fn number(self) -> u8 {
        const RESETS: u8 = DropKind::ALL.len() as u8;
        const OTHERS: u8 = RESETS + ResetCause::ALL.len() as u8;
        match self {
            Self::Charged(What::Drop(kind)) => kind as u8,
            Self::Charged(What::Reset(cause)) => RESETS + cause as u8,
            Self::Established => OTHERS,
            Self::Accepted => OTHERS + 1,
            Self::AcceptQueue => OTHERS + 2,
            Self::SynQueue => OTHERS + 3,
        }
    }

    /// Iterates over every measure.
    pub fn all() -> impl Iterator<Item = Self> {
        let drops = DropKind::ALL.into_iter().map(|kind| Self::Charged(What::Drop(kind)));
        let resets = ResetCause::ALL.into_iter().map(|cause| Self::Charged(What::Reset(cause)));
        drops.chain(resets).chain([Self::Established, Self::Accepted, Self::AcceptQueue, Self::SynQueue])
    }
}

/// Length of a bucket, and how far back the buckets reach.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Resolution {
    /// Length of a bucket in seconds.
    pub step: u32,
    /// Time that the buckets reach back.
    pub reach: Duration,
}

/// Resolutions, finest first.
pub const RESOLUTIONS: [Resolution; 3] = [
    Resolution { step: 1, reach: Duration::from_secs(15 * 60) },
    Resolution { step: 10, reach: Duration::from_secs(3 * 3600) },
    Resolution { step: 60, reach: Duration::from_secs(48 * 3600) },
];

/// One measure in one bucket; a value of 0 has no bucket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Bucket {
    value: u64,
    /// Start of the bucket in seconds since the epoch, divided by the step.
    at: u32,
    /// Index of the measure.
    measure: u8,
}

/// History of one account. Clones share all but the newest buckets.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct History {
    tiers: [Tier; RESOLUTIONS.len()],
    /// Number of buckets in all tiers together.
    buckets: usize,
    moved: Timestamp,
    forgotten: Timestamp,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Tier {
    full: VecDeque<Arc<[Bucket]>>,
    open: Vec<Bucket>,
}

/// Minimum number of buckets that are shared as one chunk, once they are complete.
const CHUNK: usize = 64;

impl History {
    /// Size in bytes of one measure of an account that happens in every second of two days.
    pub const MOST_PER_MEASURE: usize = (900 + 1080 + 2880) * size_of::<Bucket>();

    /// Returns the empty history, shared by all accounts to which nothing has happened yet.
    #[must_use]
    pub fn none() -> Arc<Self> {
        static NONE: LazyLock<Arc<History>> = LazyLock::new(Arc::default);
        Arc::clone(&NONE)
    }

    /// Creates a history in which everything before `now` is forgotten.
    #[must_use]
    pub fn forgotten(now: Timestamp) -> Self {
        Self { forgotten: now, ..Self::default() }
    }

    /// Merges the histories of several accounts.
    pub fn together<'a>(all: impl IntoIterator<Item = &'a Self> + Clone) -> Self {
        let measures: Vec<_> = Measure::all().collect();
        let mut sum = Self::default();
        for (number, (tier, resolution)) in sum.tiers.iter_mut().zip(RESOLUTIONS).enumerate() {
            let mut buckets: BTreeMap<(u32, u8), u64> = BTreeMap::new();
            let tiers = all.clone().into_iter().filter_map(|history| history.tiers.get(number));
            for bucket in tiers.flat_map(Tier::buckets) {
                let value = buckets.entry((bucket.at, bucket.measure)).or_default();
                let peak = measures.get(usize::from(bucket.measure)).copied().is_some_and(Measure::is_peak);
                *value = if peak { bucket.value.max(*value) } else { bucket.value + *value };
            }
            for ((at, measure), value) in buckets {
                if let Some(measure) = measures.get(usize::from(measure)) {
                    tier.add(*measure, value, at, resolution, &mut sum.buckets);
                }
            }
        }
        for history in all {
            sum.moved = sum.moved.max(history.moved);
            sum.forgotten = sum.forgotten.max(history.forgotten);
        }
        sum
    }

    /// Returns the time before which nothing is known, though something may have happened.
    #[must_use]
    pub const fn forgotten_before(&self) -> Timestamp {
        self.forgotten
    }

    /// Returns when something was last added.
    #[must_use]
    pub const fn moved(&self) -> Timestamp {
        self.moved
    }

    /// Returns the size of the buckets in bytes.
    #[must_use]
    pub const fn bytes(&self) -> usize {
        self.buckets * size_of::<Bucket>()
    }

    /// Adds the charges between two readings.
    pub fn charge(&mut self, before: &Counts, after: &Counts, now: Timestamp) {
        let drops = before.drops().zip(after.drops());
        for ((kind, before), (_, after)) in drops {
            self.add(Measure::Charged(What::Drop(kind)), after.saturating_sub(before), now);
        }
        let resets = before.resets().zip(after.resets());
        for ((cause, before), (_, after)) in resets {
            self.add(Measure::Charged(What::Reset(cause)), after.saturating_sub(before), now);
        }
    }

    /// Adds to the buckets of `now`, or raises them if the measure is a peak.
    pub fn add(&mut self, measure: Measure, value: u64, now: Timestamp) {
        if value == 0 {
            return;
        }
        self.moved = self.moved.max(now);
        let seconds = u32::try_from(now.as_nanos() / 1_000_000_000).unwrap_or(u32::MAX);
        for (tier, resolution) in self.tiers.iter_mut().zip(RESOLUTIONS) {
            tier.add(measure, value, seconds / resolution.step, resolution, &mut self.buckets);
        }
    }

    /// Returns the values of a measure in `count` steps of `step` seconds from `start` on. Reads the
    /// resolution numbered `tier`; `start` is in seconds since the epoch. Returns zeros if there is no such
    /// resolution.
    #[must_use]
    pub fn values(&self, measure: Measure, tier: usize, start: u32, step: u32, count: usize) -> Vec<u64> {
        let mut values = vec![0; count];
        let Some((tier, resolution)) = self.tiers.get(tier).zip(RESOLUTIONS.get(tier)) else { return values };
        for bucket in tier.buckets().filter(|bucket| bucket.measure == measure.number()) {
            let begins = bucket.at.saturating_mul(resolution.step);
            let Some(offset) = begins.checked_sub(start) else { continue };
            if let Some(value) = values.get_mut((offset / step) as usize) {
                *value = if measure.is_peak() { bucket.value.max(*value) } else { *value + bucket.value };
            }
        }
        values
    }

    /// Iterates over the measures that one resolution contains since `start`, in seconds since the epoch.
    pub fn measures(&self, tier: usize, start: u32) -> impl Iterator<Item = Measure> + '_ {
        let step = RESOLUTIONS.get(tier).map_or(1, |resolution| resolution.step);
        let buckets = self.tiers.get(tier).into_iter().flat_map(Tier::buckets);
        let since = buckets.filter(|bucket| bucket.at.saturating_mul(step) >= start);
        let happened = since.fold(0_u32, |happened, bucket| happened | 1 << bucket.measure);
        Measure::all().filter(move |measure| happened & 1 << measure.number() != 0)
    }
}

impl Tier {
    fn buckets(&self) -> impl Iterator<Item = &Bucket> {
        self.full.iter().flat_map(|chunk| chunk.iter()).chain(&self.open)
    }

    /// Adds to a bucket, and updates `buckets`, the number of all buckets.
    fn add(&mut self, measure: Measure, value: u64, at: u32, resolution: Resolution, buckets: &mut usize) {
        let newest = self.open.last().map(|bucket| bucket.at);
        // A time before the newest bucket is taken for that bucket's, so that chunks stay in order.
        let at = newest.map_or(at, |newest| at.max(newest));
        let current = self.open.iter_mut().rev().take_while(|bucket| bucket.at == at);
        if let Some(bucket) = current.into_iter().find(|bucket| bucket.measure == measure.number()) {
            bucket.value = if measure.is_peak() { bucket.value.max(value) } else { bucket.value + value };
            return;
        }
        if newest.is_some_and(|newest| newest < at) && self.open.len() >= CHUNK {
            self.full.push_back(std::mem::take(&mut self.open).into());
        }
        self.open.push(Bucket { value, at, measure: measure.number() });
        *buckets += 1;
        let oldest = at
            .saturating_sub(u32::try_from(resolution.reach.as_secs()).unwrap_or(u32::MAX) / resolution.step);
        while self.full.front().and_then(|chunk| chunk.last()).is_some_and(|last| last.at < oldest) {
            *buckets -= self.full.pop_front().map_or(0, |chunk| chunk.len());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DROP: Measure = Measure::Charged(What::Drop(DropKind::SynQueueFull));
    const START: u32 = 1_790_000_040;

    fn at(second: u32) -> Timestamp {
        Timestamp::from_nanos(u64::from(START + second) * 1_000_000_000)
    }

    #[test]
    fn every_resolution_adds_up_to_what_was_counted() {
        let mut history = History::default();
        (0..900).for_each(|second| history.add(DROP, u64::from(second % 7), at(second)));
        let counted: u64 = (0..900).map(|second| second % 7).sum();
        for (tier, resolution) in RESOLUTIONS.iter().enumerate() {
            let values = history.values(DROP, tier, START, resolution.step, 900 / resolution.step as usize);
            assert_eq!(values.iter().sum::<u64>(), counted, "{resolution:?}");
        }
        assert_eq!(history.values(DROP, 0, START + 1, 1, 3), [1, 2, 3]);
        assert_eq!(history.values(DROP, 0, START, 5, 2), [10, 5 + 6 + 1 + 2]);
    }

    #[test]
    fn measures_are_numbered_in_order() {
        assert!(Measure::all().map(Measure::number).eq(0..Measure::all().count() as u8));
        assert!(Measure::all().count() <= 32, "they are told by the bits of a number");
        assert_eq!(size_of::<Bucket>(), 16);
    }

    #[test]
    fn of_a_queue_the_longest_is_kept() {
        let mut history = History::default();
        for (second, length) in [(0, 3), (0, 9), (1, 4), (65, 2)] {
            history.add(Measure::AcceptQueue, length, at(second));
        }
        assert_eq!(history.values(Measure::AcceptQueue, 0, START, 1, 2), [9, 4]);
        assert_eq!(history.values(Measure::AcceptQueue, 2, START, 60, 2), [9, 2]);
    }

    #[test]
    fn a_listener_that_drops_for_a_week_takes_what_is_stated_and_no_more() {
        let mut history = History::default();
        for second in (0..7 * 86_400).step_by(1) {
            history.add(DROP, 1, at(second));
            if second % 3601 == 0 {
                assert!(history.bytes() <= History::MOST_PER_MEASURE * 11 / 10, "{}", history.bytes());
            }
        }
        let day = (7 - 1) * 86_400;
        assert_eq!(history.values(DROP, 2, START + day, 60, 1440), vec![60; 1440]);
        assert!(history.values(DROP, 0, START + day, 1, 60).iter().all(|value| *value == 0));
        assert_eq!(History::MOST_PER_MEASURE, 77_760);
    }

    #[test]
    fn several_histories_are_one_that_adds_up() {
        let (mut first, mut second) = (History::default(), History::default());
        (0..500).for_each(|n| first.add(DROP, 1, at(n)));
        first.add(Measure::AcceptQueue, 7, at(499));
        (400..900).for_each(|n| {
            second.add(DROP, 2, at(n));
            second.add(Measure::AcceptQueue, u64::from(n == 499) * 5, at(n));
        });
        let both = History::together([&first, &second]);
        for (tier, resolution) in RESOLUTIONS.iter().enumerate() {
            let values = both.values(DROP, tier, START, resolution.step, 900 / resolution.step as usize);
            assert_eq!(values.iter().sum::<u64>(), 1500, "{resolution:?}");
        }
        assert_eq!(both.values(DROP, 0, START + 399, 1, 3), [1, 3, 3]);
        assert_eq!(both.values(Measure::AcceptQueue, 0, START + 499, 1, 1), [7]);
        assert_eq!(both.moved(), at(899));
        assert_eq!(History::together([&both]), both);
        let held =
            |history: &History| history.tiers.iter().flat_map(Tier::buckets).count() * size_of::<Bucket>();
        assert_eq!((both.bytes(), first.bytes()), (held(&both), held(&first)));
    }

    #[test]
    fn a_clock_set_back_loses_nothing() {
        let mut history = History::default();
        history.add(DROP, 2, at(100));
        history.add(DROP, 3, at(10));
        assert_eq!(history.values(DROP, 0, START, 1, 101).iter().sum::<u64>(), 5);
    }

    #[test]
    fn a_reader_keeps_what_it_cloned() {
        let mut history = History::default();
        history.add(DROP, 1, at(0));
        let before = history.clone();
        (0..1000).for_each(|second| history.add(DROP, 1, at(second)));
        assert_eq!(before.values(DROP, 0, START, 1, 10).iter().sum::<u64>(), 1);
    }
}
