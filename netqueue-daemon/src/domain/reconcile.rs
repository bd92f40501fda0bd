//! The promise users can check: what the kernel counted, what was attributed, and what is left over.
//!
//! A namespace is known by its inode number, and the kernel gives the number of a dead namespace to the next one at
//! once: its counters begin at zero again, while what is attributed under the number goes on. So a number has lives,
//! one after the other, and only what happened in one life is compared with that life's counters.

use std::collections::HashMap;

use super::{Netns, PerCounter, Timestamp};

/// The kernel's counters of one namespace, read between two readings of everything attributed to it.
///
/// Drops go on while files and maps are read. If the kernel's number lies between the two sums, nothing is missing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Bracket {
    /// Sum over all accounts of the namespace, dead ones included, before.
    pub before: PerCounter<u64>,
    /// The kernel's counters, absolute.
    pub kernel: PerCounter<u64>,
    /// The same sum, after.
    pub after: PerCounter<u64>,
}

/// What tells whether a namespace is the one that was read before under its number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Evidence {
    /// Counters of its traffic: they only grow while it lives.
    pub traffic: [u64; 4],
    /// A thread that was in it at the last reading still is.
    pub witnessed: bool,
}

/// One reading of a namespace, and whether it is the last one for now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sample {
    /// The counters and the sums.
    pub bracket: Bracket,
    /// Whose they are.
    pub evidence: Evidence,
    /// No other reading follows soon: what does not agree now is not under way.
    pub last_try: bool,
}

/// One counter of one namespace. `since_attach = attributed + uncertain + residual`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CounterBalance {
    /// The kernel's counter, as its file shows it.
    pub kernel: u64,
    /// How far it moved since netqueue attached, or since the namespace was made.
    pub since_attach: i64,
    /// How much of that is attributed.
    pub attributed: i64,
    /// What did not agree when the namespace was first seen: counted before netqueue attached, or charged to a life
    /// of its number that ended without a last look. Set aside, since nobody can tell any more.
    pub uncertain: i64,
    /// How much is not attributed; negative where more was attributed than the kernel counted.
    pub residual: i64,
}

/// All counters of one namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NamespaceBalance {
    /// Its counters.
    pub counters: PerCounter<CounterBalance>,
    /// Whether it is known from where the counters are compared: see [`CounterBalance::uncertain`].
    pub certain: bool,
    /// When they were read.
    pub read: Timestamp,
}

impl NamespaceBalance {
    /// Whether every increment is attributed, but for what is set aside as uncertain.
    #[must_use]
    pub fn is_exact(&self) -> bool {
        self.counters.iter().all(|(_, balance)| balance.residual == 0)
    }

    /// The balance of two namespaces together.
    #[must_use]
    pub fn and(&self, other: &Self) -> Self {
        let counters = PerCounter::from_fn(|counter| {
            let (mine, theirs) = (self.counters.get(counter), other.counters.get(counter));
            CounterBalance {
                kernel: mine.kernel + theirs.kernel,
                since_attach: mine.since_attach + theirs.since_attach,
                attributed: mine.attributed + theirs.attributed,
                uncertain: mine.uncertain + theirs.uncertain,
                residual: mine.residual + theirs.residual,
            }
        });
        Self { counters, certain: self.certain && other.certain, read: self.read.max(other.read) }
    }
}

/// What came of comparing a namespace's counters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Compared {
    /// The balance; `None` while it is not known yet from where to compare.
    pub balance: Option<NamespaceBalance>,
    /// Nothing seems to be under way.
    pub settled: bool,
    /// The number is another namespace's now; the last one was compared at this time for the last time.
    pub replaced: Option<Timestamp>,
}

/// Compares the kernel's counters with what was attributed, each namespace from its own beginning on.
#[derive(Clone, Debug, Default)]
pub struct Reconciler {
    lives: HashMap<Netns, Life>,
    ended: HashMap<Netns, Ended>,
}

/// What had been attributed to a number when its lives ended.
#[derive(Clone, Copy, Debug, Default)]
struct Ended {
    /// The last that was compared,
    compared: PerCounter<u64>,
    /// and the last of all: some are gone before they are found.
    last: PerCounter<u64>,
}

/// One namespace, from first to last sight.
#[derive(Clone, Copy, Debug)]
struct Life {
    /// The kernel's counters from which it is compared.
    kernel_base: PerCounter<u64>,
    /// The kernel's counters less what is attributed to the number: the same at all times, but for residuals.
    offset: PerCounter<Range>,
    /// What the offset would be if nothing had to be set aside; `None` for one that was there at attach.
    without_doubt: Option<PerCounter<i64>>,
    guessed: bool,
    /// As of the last comparison.
    residual: PerCounter<i64>,
    /// Since the last sure look it may have become another's.
    in_doubt: bool,
    /// As of the last comparison that was this namespace's for sure.
    kernel: PerCounter<u64>,
    traffic: [u64; 4],
    attributed: PerCounter<u64>,
    compared: Timestamp,
}

/// What a number may be: one reading while drops go on does not tell more.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Range {
    low: i64,
    high: i64,
}

impl Reconciler {
    /// Takes the state from which a namespace is compared that existed when netqueue attached. Returns false where it
    /// was moving: this should be done again, or the next quiet comparison tells from where it is compared.
    pub fn set_baseline(&mut self, netns: Netns, sample: &Sample, now: Timestamp) -> bool {
        let Bracket { before, kernel, after } = sample.bracket;
        self.lives.insert(netns, Life::new(kernel, sample.bracket.offset(), None, sample, now));
        before == after
    }

    /// Compares a namespace's counters.
    ///
    /// One that was not there at attach is compared from zero. Where that does not agree at first sight, the
    /// difference is set aside: it may be from before attach, or it may be the last of another life. Later
    /// differences are residuals.
    pub fn compare(&mut self, netns: Netns, sample: &Sample, now: Timestamp) -> Compared {
        let mut replaced = None;
        let mut guessed = false;
        if let Some(life) = self.lives.get(&netns) {
            let disproved = life.is_disproved_by(sample);
            guessed = !disproved && life.is_doubted_by(sample);
            if disproved || guessed {
                replaced = Some(life.compared);
                let attributed = life.attributed;
                self.end(netns, attributed);
            }
        }
        match self.lives.get_mut(&netns) {
            Some(life) => {
                let residual = life.residual_of(&sample.bracket);
                let settled = sample.last_try || residual == life.residual || is_zero(&residual);
                if settled {
                    life.saw(sample, residual, now);
                }
                Compared { balance: Some(life.balance(&sample.bracket, now)), settled, replaced }
            }
            None => {
                let born = self.first_sight(netns, sample, guessed, now);
                Compared { balance: born, settled: born.is_some(), replaced }
            }
        }
    }

    /// Nothing refers to the namespace any more; so much had been attributed to its number by then.
    pub fn end(&mut self, netns: Netns, attributed: PerCounter<u64>) {
        let compared = self.lives.remove(&netns).is_some();
        let ended = self.ended.entry(netns).or_default();
        ended.last = attributed;
        if compared {
            ended.compared = attributed;
        }
    }

    fn first_sight(
        &mut self,
        netns: Netns,
        sample: &Sample,
        guessed: bool,
        now: Timestamp,
    ) -> Option<NamespaceBalance> {
        let Ended { compared, last } = self.ended.get(&netns).copied().unwrap_or_default();
        // It began when the last one with its number had ended; or it was there, unfound, since the one before that.
        let begins = |base: PerCounter<u64>| PerCounter::from_fn(|counter| -signed(base.get(counter)));
        let fitting = [begins(last), begins(compared)].into_iter().find_map(|begins| {
            let offset = PerCounter::from_fn(|counter| Range::point(begins.get(counter)));
            let mut life = Life::new(PerCounter::default(), offset, Some(begins), sample, now);
            life.guessed = guessed;
            is_zero(&life.residual_of(&sample.bracket)).then_some(life)
        });
        let life = match fitting {
            Some(life) => life,
            None if sample.last_try => {
                let observed = sample.bracket.offset();
                Life::new(PerCounter::default(), observed, Some(begins(last)), sample, now)
            }
            None => return None,
        };
        self.lives.insert(netns, life);
        Some(life.balance(&sample.bracket, now))
    }
}

impl Life {
    fn new(
        kernel_base: PerCounter<u64>,
        offset: PerCounter<Range>,
        without_doubt: Option<PerCounter<i64>>,
        sample: &Sample,
        now: Timestamp,
    ) -> Self {
        Self {
            kernel_base,
            offset,
            without_doubt,
            guessed: false,
            residual: PerCounter::default(),
            in_doubt: false,
            kernel: sample.bracket.kernel,
            traffic: sample.evidence.traffic,
            attributed: sample.bracket.after,
            compared: now,
        }
    }

    fn saw(&mut self, sample: &Sample, residual: PerCounter<i64>, now: Timestamp) {
        self.residual = residual;
        // Without a witness only numbers that leave no room for another can tell.
        let quiet = sample.bracket.before == sample.bracket.after;
        self.in_doubt = (self.in_doubt || !sample.evidence.witnessed) && !(quiet && is_zero(&residual));
        if self.in_doubt {
            return;
        }
        let observed = sample.bracket.offset();
        self.offset =
            PerCounter::from_fn(|counter| self.offset.get(counter).narrowed_by(observed.get(counter)));
        self.kernel = sample.bracket.kernel;
        self.traffic = sample.evidence.traffic;
        self.attributed = sample.bracket.after;
        self.compared = now;
    }

    /// Counters only grow: these are another namespace's.
    fn is_disproved_by(&self, sample: &Sample) -> bool {
        let kernel = &sample.bracket.kernel;
        self.kernel.iter().any(|(counter, before)| kernel.get(counter) < before)
            || self.traffic.iter().zip(sample.evidence.traffic).any(|(before, now)| now < *before)
    }

    /// Nobody has seen it live on since the last sure look, and it is charged with more than its kernel counted: a new
    /// namespace, whose counters have grown past the old one's already, would look like this.
    fn is_doubted_by(&self, sample: &Sample) -> bool {
        let residual = self.residual_of(&sample.bracket);
        let less = residual.iter().any(|(counter, now)| now < self.residual.get(counter));
        less && sample.last_try && (self.in_doubt || !sample.evidence.witnessed)
    }

    fn residual_of(&self, bracket: &Bracket) -> PerCounter<i64> {
        let observed = bracket.offset();
        PerCounter::from_fn(|counter| observed.get(counter).beyond(self.offset.get(counter)))
    }

    fn balance(&self, bracket: &Bracket, read: Timestamp) -> NamespaceBalance {
        let residuals = self.residual_of(bracket);
        let counters = PerCounter::from_fn(|counter| {
            let kernel = bracket.kernel.get(counter);
            let since_attach = signed(kernel) - signed(self.kernel_base.get(counter));
            let (uncertain, residual) = (self.uncertain().get(counter), residuals.get(counter));
            let attributed = since_attach - uncertain - residual;
            CounterBalance { kernel, since_attach, attributed, uncertain, residual }
        });
        NamespaceBalance { counters, certain: self.is_certain(), read }
    }

    fn uncertain(&self) -> PerCounter<i64> {
        PerCounter::from_fn(|counter| match &self.without_doubt {
            Some(begins) => self.offset.get(counter).beyond(Range::point(begins.get(counter))),
            None => 0,
        })
    }

    fn is_certain(&self) -> bool {
        let pinned = self.offset.iter().all(|(_, offset)| offset.low == offset.high);
        pinned && !self.guessed && !self.in_doubt && is_zero(&self.uncertain())
    }
}

impl Bracket {
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
    const fn point(value: i64) -> Self {
        Self { low: value, high: value }
    }

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

    /// What both allow; this one where they do not meet.
    fn narrowed_by(self, other: Self) -> Self {
        if self.beyond(other) != 0 {
            return self;
        }
        Self { low: self.low.max(other.low), high: self.high.min(other.high) }
    }
}

fn is_zero(values: &PerCounter<i64>) -> bool {
    values.iter().all(|(_, value)| value == 0)
}

fn signed(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

#[cfg(test)]
#[path = "reconcile_tests.rs"]
mod tests;
