//! Reconciliation, the promise users can check: kernel counters, their attributed part, and the rest.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};

use super::{Netns, PerCounter, Timestamp};

/// Kernel counters of one namespace, read between two readings of everything attributed to it.
///
/// Drops go on while files and maps are read. If the kernel's number lies between the two sums, nothing is
/// missing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bracket {
    /// Sum over all accounts of the namespace, dead ones included, before the counters were read.
    pub before: PerCounter<u64>,
    /// Kernel counters, absolute.
    pub kernel: PerCounter<u64>,
    /// Sum over all accounts of the namespace, dead ones included, after the counters were read.
    pub after: PerCounter<u64>,
}

/// Balance of one counter of one namespace: `since_attach = attributed + residual`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CounterBalance {
    /// Kernel counter, as its file shows it.
    pub kernel: u64,
    /// Increase since the moment named by [`Start`].
    pub since_attach: i64,
    /// Part of the increase that is attributed.
    pub attributed: i64,
    /// Part that is not attributed; negative if more was attributed than the kernel counted.
    pub residual: i64,
}

/// Moment from which a namespace is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Start {
    /// Attach: the namespace existed then, and was read.
    Attach,
    /// Birth of the namespace, which was made after netqueue attached.
    Birth,
    /// First reading of a namespace that existed at attach but was found only at this time. Counts from
    /// before are not compared.
    FirstLook(Timestamp),
}

/// Balances of all counters of one namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NamespaceBalance {
    /// Namespace that was compared.
    pub netns: Netns,
    /// Balance of each counter.
    pub counters: PerCounter<CounterBalance>,
    /// Moment from which the counters are compared.
    pub start: Start,
    /// Time at which the counters were read.
    pub read: Timestamp,
    /// True if the namespace had ended, so that no comparison follows.
    pub last: bool,
    /// Largest residual that may be hidden, because drops went on whenever the counters were read.
    pub slack: u64,
    /// Everything attributed to the namespace when the counters were read.
    pub charged: PerCounter<u64>,
}

impl NamespaceBalance {
    /// Returns whether every increment is attributed.
    #[must_use]
    pub fn is_exact(&self) -> bool {
        self.counters.iter().all(|(_, balance)| balance.residual == 0)
    }

    /// Returns whether all residuals are the same as in another balance.
    #[must_use]
    pub fn same_residual(&self, other: &Self) -> bool {
        self.counters
            .iter()
            .all(|(counter, balance)| balance.residual == other.counters.get(counter).residual)
    }

    /// Adds up the balances of two namespaces.
    #[must_use]
    pub fn and(&self, other: &Self) -> Self {
        let counters = PerCounter::from_fn(|counter| {
            let (mine, theirs) = (self.counters.get(counter), other.counters.get(counter));
            CounterBalance {
                kernel: mine.kernel + theirs.kernel,
                since_attach: mine.since_attach + theirs.since_attach,
                attributed: mine.attributed + theirs.attributed,
                residual: mine.residual + theirs.residual,
            }
        });
        let charged = PerCounter::from_fn(|counter| self.charged.get(counter) + other.charged.get(counter));
        Self {
            counters,
            read: self.read.max(other.read),
            last: self.last && other.last,
            slack: self.slack + other.slack,
            charged,
            ..*self
        }
    }
}

/// Comparison of the kernel's counters with what was attributed, from a baseline on.
#[derive(Clone, Debug, Default)]
pub struct Reconciler {
    baselines: HashMap<Netns, Baseline>,
}

/// State from which a namespace is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Baseline {
    start: Start,
    /// Kernel counters at the start.
    kernel: PerCounter<u64>,
    /// Kernel counters less what is attributed to the namespace: constant, but for residuals.
    offset: PerCounter<Range>,
    /// Offset found by the last reading, if nothing moved during it.
    quiet: Option<PerCounter<Range>>,
}

/// Possible values of a number, of which one reading while drops go on reveals no more.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Range {
    low: i64,
    high: i64,
}

impl Reconciler {
    /// Sets the baseline of a namespace that existed when netqueue attached. A second call, a little later,
    /// adds what was under way at the first.
    pub fn set_baseline(&mut self, netns: Netns, bracket: &Bracket) {
        let observed = bracket.offset();
        match self.baselines.get_mut(&netns) {
            Some(known) => {
                known.offset =
                    PerCounter::from_fn(|counter| known.offset.get(counter).with(observed.get(counter)));
                known.quiet = None;
            }
            None => {
                self.baselines.insert(netns, Baseline::at(Start::Attach, bracket.kernel, observed));
            }
        }
    }

    /// Compares a namespace, from its birth or from now on if it has no baseline.
    pub fn compare(&mut self, netns: Netns, bracket: &Bracket, now: Timestamp) -> NamespaceBalance {
        let baseline = self.baselines.entry(netns).or_insert_with(|| {
            if netns.generation > 0 {
                let zero = PerCounter::from_fn(|_| Range::default());
                Baseline::at(Start::Birth, PerCounter::default(), zero)
            } else {
                Baseline::at(Start::FirstLook(now), bracket.kernel, bracket.offset())
            }
        });
        let observed = bracket.offset();
        let residual =
            PerCounter::from_fn(|counter| observed.get(counter).beyond(baseline.offset.get(counter)));
        baseline.narrow(observed, &residual);
        baseline.balance(netns, bracket, &residual, now)
    }

    /// Exports the baseline of each namespace.
    pub fn checkpoint(&self) -> impl Iterator<Item = (Netns, Baseline)> + '_ {
        self.baselines.iter().map(|(netns, baseline)| (*netns, *baseline))
    }

    /// Creates a reconciler from exported baselines.
    #[must_use]
    pub fn restored(checkpoint: impl IntoIterator<Item = (Netns, Baseline)>) -> Self {
        Self { baselines: checkpoint.into_iter().collect() }
    }

    /// Returns whether the namespace has a baseline.
    #[must_use]
    pub fn knows(&self, netns: Netns) -> bool {
        self.baselines.contains_key(&netns)
    }

    /// Forgets the baseline of a namespace, which is compared no more.
    pub fn forget(&mut self, netns: Netns) {
        self.baselines.remove(&netns);
    }
}

impl Baseline {
    const fn at(start: Start, kernel: PerCounter<u64>, offset: PerCounter<Range>) -> Self {
        Self { start, kernel, offset, quiet: None }
    }

    /// Narrows the baseline if two readings in a row agree while nothing moves and nothing is missing. Such
    /// readings leave no doubt where the comparison began.
    fn narrow(&mut self, observed: PerCounter<Range>, residual: &PerCounter<i64>) {
        let is_quiet = observed.iter().all(|(_, range)| range.low == range.high);
        let is_zero = residual.iter().all(|(_, residual)| residual == 0);
        let again = is_quiet && self.quiet == Some(observed);
        if again && is_zero {
            self.offset = observed;
        }
        self.quiet = is_quiet.then_some(observed);
    }

    fn balance(
        &self,
        netns: Netns,
        bracket: &Bracket,
        residual: &PerCounter<i64>,
        now: Timestamp,
    ) -> NamespaceBalance {
        let counters = PerCounter::from_fn(|counter| {
            let (kernel, residual) = (bracket.kernel.get(counter), residual.get(counter));
            let since_attach = signed(kernel) - signed(self.kernel.get(counter));
            CounterBalance { kernel, since_attach, attributed: since_attach - residual, residual }
        });
        let widths = self.offset.iter().map(|(_, range)| range.high.abs_diff(range.low));
        NamespaceBalance {
            netns,
            counters,
            start: self.start,
            read: now,
            last: false,
            slack: widths.max().unwrap_or(0),
            charged: bracket.after,
        }
    }
}

impl Bracket {
    /// Creates the bracket of a namespace in which nothing moves any more.
    #[must_use]
    pub const fn still(kernel: PerCounter<u64>, charged: PerCounter<u64>) -> Self {
        Self { before: charged, kernel, after: charged }
    }

    /// Returns the kernel counters less what was attributed when they were read, between the two sums.
    fn offset(&self) -> PerCounter<Range> {
        PerCounter::from_fn(|counter| {
            let kernel = signed(self.kernel.get(counter));
            let (before, after) = (signed(self.before.get(counter)), signed(self.after.get(counter)));
            Range { low: kernel - after.max(before), high: kernel - before }
        })
    }
}

impl Range {
    /// Returns how far this range lies above or below the other; 0 where they meet.
    const fn beyond(self, other: Self) -> i64 {
        if self.low > other.high {
            self.low - other.high
        } else if self.high < other.low {
            self.high - other.low
        } else {
            0
        }
    }

    /// Returns the range that contains both.
    fn with(self, other: Self) -> Self {
        Self { low: self.low.min(other.low), high: self.high.max(other.high) }
    }
}

fn signed(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::KernelCounter::{self, ListenDrops};

    const HOST: Netns = Netns::at_attach(1);
    const POD: Netns = Netns { inode: 2, generation: 1 };
    const NOW: Timestamp = Timestamp::from_nanos(9);

    fn all(value: u64) -> PerCounter<u64> {
        PerCounter::from_fn(|_: KernelCounter| value)
    }

    fn bracket(before: u64, kernel: u64, after: u64) -> Bracket {
        Bracket { before: all(before), kernel: all(kernel), after: all(after) }
    }

    fn drops(reconciler: &mut Reconciler, before: u64, kernel: u64, after: u64) -> CounterBalance {
        reconciler.compare(HOST, &bracket(before, kernel, after), NOW).counters.get(ListenDrops)
    }

    fn attached_when_the_kernel_stood_at_1000() -> Reconciler {
        let mut reconciler = Reconciler::default();
        reconciler.set_baseline(HOST, &bracket(0, 1000, 0));
        reconciler
    }

    #[test]
    fn drops_while_reading_are_not_a_residual() {
        let mut reconciler = attached_when_the_kernel_stood_at_1000();
        assert_eq!(
            drops(&mut reconciler, 40, 1050, 60),
            CounterBalance { kernel: 1050, since_attach: 50, attributed: 50, residual: 0 }
        );
    }

    #[test]
    fn what_no_listener_was_charged_with_is_left_over() {
        let mut reconciler = attached_when_the_kernel_stood_at_1000();
        assert_eq!(
            drops(&mut reconciler, 40, 1050, 45),
            CounterBalance { kernel: 1050, since_attach: 50, attributed: 45, residual: 5 }
        );
    }

    #[test]
    fn charging_too_much_shows_too() {
        let mut reconciler = attached_when_the_kernel_stood_at_1000();
        assert_eq!(drops(&mut reconciler, 51, 1050, 51).residual, -1);
    }

    #[test]
    fn a_baseline_taken_while_drops_go_on_says_how_much_may_hide_until_it_is_quiet() {
        let mut reconciler = Reconciler::default();
        reconciler.set_baseline(HOST, &bracket(0, 1000, 3));
        // A drop under way: the kernel has counted it, and it is charged a moment later.
        reconciler.set_baseline(HOST, &bracket(4, 1005, 4));
        let slack = |reconciler: &mut Reconciler, before, kernel, after| {
            let balance = reconciler.compare(HOST, &bracket(before, kernel, after), NOW);
            (balance.slack, balance.counters.get(ListenDrops).residual)
        };
        assert_eq!(slack(&mut reconciler, 9, 1010, 11), (4, 0));
        assert_eq!(slack(&mut reconciler, 20, 1020, 20), (4, 0));
        assert_eq!(slack(&mut reconciler, 21, 1021, 21), (0, 0), "the same twice, and nothing moved");
        assert_eq!(slack(&mut reconciler, 21, 1022, 21), (0, 1));
    }

    #[test]
    fn a_namespace_made_since_attach_is_compared_from_its_first_drop_on() {
        let mut reconciler = Reconciler::default();
        let balance = reconciler.compare(POD, &bracket(7, 8, 7), NOW);
        assert_eq!((balance.start, balance.counters.get(ListenDrops).residual), (Start::Birth, 1));
    }

    #[test]
    fn one_that_was_there_at_attach_and_is_found_later_says_since_when_it_is_compared() {
        let mut reconciler = Reconciler::default();
        let first = reconciler.compare(HOST, &bracket(7, 5000, 7), NOW);
        assert_eq!(first.start, Start::FirstLook(NOW));
        assert_eq!(first.counters.get(ListenDrops).since_attach, 0);
        assert_eq!(
            drops(&mut reconciler, 9, 5003, 9),
            CounterBalance { kernel: 5003, since_attach: 3, attributed: 2, residual: 1 }
        );
    }
}
