//! The promise users can check: what the kernel counted, what was attributed, and what is left over.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};

use super::{Netns, PerCounter, Timestamp};

/// The kernel's counters of one namespace, read between two readings of everything attributed to it.
///
/// Drops go on while files and maps are read. If the kernel's number lies between the two sums, nothing is missing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bracket {
    /// Sum over all accounts of the namespace, dead ones included, before.
    pub before: PerCounter<u64>,
    /// The kernel's counters, absolute.
    pub kernel: PerCounter<u64>,
    /// The same sum, after.
    pub after: PerCounter<u64>,
}

/// One counter of one namespace. `since_attach = attributed + residual`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CounterBalance {
    /// The kernel's counter, as its file shows it.
    pub kernel: u64,
    /// How far it moved since the moment named by [`Start`].
    pub since_attach: i64,
    /// How much of that is attributed.
    pub attributed: i64,
    /// How much is not; negative where more was attributed than the kernel counted.
    pub residual: i64,
}

/// From when on a namespace is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Start {
    /// It was there when netqueue attached, and was read then.
    Attach,
    /// It was made later: from its beginning.
    Birth,
    /// It was there when netqueue attached, and was found only at this time: what it counted before is not compared.
    FirstLook(Timestamp),
}

/// All counters of one namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NamespaceBalance {
    /// The namespace.
    pub netns: Netns,
    /// Its counters.
    pub counters: PerCounter<CounterBalance>,
    /// From when on they are compared.
    pub start: Start,
    /// When they were read.
    pub read: Timestamp,
    /// The namespace had ended: nothing comes after this.
    pub last: bool,
    /// A residual up to this may hide, because drops went on whenever the counters were read.
    pub slack: u64,
    /// Everything attributed to the namespace when they were read.
    pub charged: PerCounter<u64>,
}

impl NamespaceBalance {
    /// Whether every increment is attributed.
    #[must_use]
    pub fn is_exact(&self) -> bool {
        self.counters.iter().all(|(_, balance)| balance.residual == 0)
    }

    /// Whether the same is left over as at another time.
    #[must_use]
    pub fn same_residual(&self, other: &Self) -> bool {
        self.counters
            .iter()
            .all(|(counter, balance)| balance.residual == other.counters.get(counter).residual)
    }

    /// Two namespaces together.
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

/// Compares the kernel's counters with what was attributed, from a baseline on.
#[derive(Clone, Debug, Default)]
pub struct Reconciler {
    baselines: HashMap<Netns, Baseline>,
}

/// From where a namespace is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Baseline {
    start: Start,
    /// The kernel's counters at the start.
    kernel: PerCounter<u64>,
    /// The kernel's counters less what is attributed to the namespace: the same at all times, but for residuals.
    offset: PerCounter<Range>,
    /// The same as of the last look, if nothing moved meanwhile.
    quiet: Option<PerCounter<Range>>,
}

/// What a number may be: one look while drops go on does not tell more.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Range {
    low: i64,
    high: i64,
}

impl Reconciler {
    /// Looks at a namespace that was there when netqueue attached, to compare it from now on. A second look, a little
    /// later, shows what was under way at the first.
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

    /// Compares a namespace.
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

    /// From where each namespace is compared.
    pub fn standing(&self) -> impl Iterator<Item = (Netns, Baseline)> + '_ {
        self.baselines.iter().map(|(netns, baseline)| (*netns, *baseline))
    }

    /// The reconciler that stood there.
    #[must_use]
    pub fn restored(standing: impl IntoIterator<Item = (Netns, Baseline)>) -> Self {
        Self { baselines: standing.into_iter().collect() }
    }

    /// Whether it was compared before, or its baseline taken.
    #[must_use]
    pub fn knows(&self, netns: Netns) -> bool {
        self.baselines.contains_key(&netns)
    }

    /// It is compared no more.
    pub fn forget(&mut self, netns: Netns) {
        self.baselines.remove(&netns);
    }
}

impl Baseline {
    const fn at(start: Start, kernel: PerCounter<u64>, offset: PerCounter<Range>) -> Self {
        Self { start, kernel, offset, quiet: None }
    }

    /// Two looks in a row that saw the same, while nothing moved, leave no doubt where the comparison began.
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
    /// The counters of a namespace in which nothing moves any more.
    #[must_use]
    pub const fn still(kernel: PerCounter<u64>, charged: PerCounter<u64>) -> Self {
        Self { before: charged, kernel, after: charged }
    }

    /// The kernel's counters less what was attributed when they were read, which was between the two sums.
    fn offset(&self) -> PerCounter<Range> {
        PerCounter::from_fn(|counter| {
            let kernel = signed(self.kernel.get(counter));
            let (before, after) = (signed(self.before.get(counter)), signed(self.after.get(counter)));
            Range { low: kernel - after.max(before), high: kernel - before }
        })
    }
}

impl Range {
    /// How far this lies above or below the other; 0 where they meet.
    const fn beyond(self, other: Self) -> i64 {
        if self.low > other.high {
            self.low - other.high
        } else if self.high < other.low {
            self.high - other.low
        } else {
            0
        }
    }

    /// All that either allows.
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
        // A drop under way: counted by the kernel, and charged a moment later.
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
