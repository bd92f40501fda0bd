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

    fn residual(&self) -> PerCounter<i64> {
        PerCounter::from_fn(|counter| self.counters.get(counter).residual)
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
    /// Per number, what had been attributed to it when its last life ended.
    ended: HashMap<Netns, PerCounter<u64>>,
}

/// One namespace, from first to last sight.
#[derive(Clone, Copy, Debug)]
struct Life {
    /// The kernel's counters from which it is compared,
    kernel_base: PerCounter<u64>,
    /// what was attributed to its number then,
    attributed_base: PerCounter<u64>,
    /// and what is set aside.
    uncertain: PerCounter<i64>,
    certain: bool,
    /// As of the last comparison.
    kernel: PerCounter<u64>,
    traffic: [u64; 4],
    attributed: PerCounter<u64>,
    residual: PerCounter<i64>,
    compared: Timestamp,
}

impl Reconciler {
    /// Takes the state from which a namespace is compared that existed when netqueue attached. Returns false where it
    /// was moving: its balance is then uncertain by what moved, and this should be done again.
    pub fn set_baseline(&mut self, netns: Netns, reading: &Sample, now: Timestamp) -> bool {
        let Bracket { before, kernel, after } = reading.bracket;
        let certain = before == after;
        self.lives.insert(netns, Life { certain, ..Life::from(kernel, after, reading, now) });
        certain
    }

    /// Compares a namespace's counters.
    ///
    /// One that was not there at attach is compared from zero. Where that does not agree at first sight, the
    /// difference is set aside: it may be from before attach, or it may be the last of another life. Later
    /// differences are residuals.
    pub fn compare(&mut self, netns: Netns, reading: &Sample, now: Timestamp) -> Compared {
        let mut replaced = None;
        let mut guessed = false;
        if let Some(life) = self.lives.get(&netns) {
            let disproved = life.is_disproved_by(reading);
            guessed = !disproved && life.is_doubted_by(reading);
            if disproved || guessed {
                replaced = Some(life.compared);
                let attributed = life.attributed;
                self.end(netns, attributed);
            }
        }
        match self.lives.get_mut(&netns) {
            Some(life) => {
                let balance = life.balance(&reading.bracket, now);
                let residual = balance.residual();
                let settled = reading.last_try || balance.is_exact() || residual == life.residual;
                if settled {
                    life.saw(reading, residual, now);
                }
                Compared { balance: Some(balance), settled, replaced }
            }
            None => {
                let born = self.first_sight(netns, reading, guessed, now);
                Compared { balance: born, settled: born.is_some(), replaced }
            }
        }
    }

    /// Nothing refers to the namespace any more; so much had been attributed to it by then.
    pub fn end(&mut self, netns: Netns, attributed: PerCounter<u64>) {
        self.lives.remove(&netns);
        self.ended.insert(netns, attributed);
    }

    fn first_sight(
        &mut self,
        netns: Netns,
        reading: &Sample,
        guessed: bool,
        now: Timestamp,
    ) -> Option<NamespaceBalance> {
        let before_it = self.ended.get(&netns).copied().unwrap_or_default();
        let mut life = Life::from(PerCounter::default(), before_it, reading, now);
        life.certain = !guessed;
        let balance = life.balance(&reading.bracket, now);
        if !balance.is_exact() {
            if !reading.last_try {
                return None;
            }
            life.uncertain = balance.residual();
            life.certain = false;
        }
        life.saw(reading, PerCounter::default(), now);
        self.lives.insert(netns, life);
        Some(life.balance(&reading.bracket, now))
    }
}

impl Life {
    fn from(
        kernel_base: PerCounter<u64>,
        attributed_base: PerCounter<u64>,
        reading: &Sample,
        now: Timestamp,
    ) -> Self {
        Self {
            kernel_base,
            attributed_base,
            uncertain: PerCounter::default(),
            certain: true,
            kernel: reading.bracket.kernel,
            traffic: reading.evidence.traffic,
            attributed: reading.bracket.after,
            residual: PerCounter::default(),
            compared: now,
        }
    }

    fn saw(&mut self, reading: &Sample, residual: PerCounter<i64>, now: Timestamp) {
        self.kernel = reading.bracket.kernel;
        self.traffic = reading.evidence.traffic;
        self.attributed = reading.bracket.after;
        self.residual = residual;
        self.compared = now;
    }

    /// Counters only grow: these are another namespace's.
    fn is_disproved_by(&self, reading: &Sample) -> bool {
        let kernel = &reading.bracket.kernel;
        self.kernel.iter().any(|(counter, before)| kernel.get(counter) < before)
            || self.traffic.iter().zip(reading.evidence.traffic).any(|(before, now)| now < *before)
    }

    /// Nobody saw it live on, and it is charged with more than its kernel counted: a new namespace, whose counters
    /// have grown past the old one's already, would look like this.
    fn is_doubted_by(&self, reading: &Sample) -> bool {
        let residual = self.balance(&reading.bracket, self.compared).residual();
        let less = residual.iter().any(|(counter, now)| now < self.residual.get(counter));
        less && reading.last_try && !reading.evidence.witnessed
    }

    fn balance(&self, bracket: &Bracket, read: Timestamp) -> NamespaceBalance {
        let counters = PerCounter::from_fn(|counter| {
            let since = |value: u64, base: &PerCounter<u64>| signed(value) - signed(base.get(counter));
            let since_attach = since(bracket.kernel.get(counter), &self.kernel_base);
            let before = since(bracket.before.get(counter), &self.attributed_base);
            let after = since(bracket.after.get(counter), &self.attributed_base).max(before);
            let uncertain = self.uncertain.get(counter);
            let attributed = (since_attach - uncertain).clamp(before, after);
            CounterBalance {
                kernel: bracket.kernel.get(counter),
                since_attach,
                attributed,
                uncertain,
                residual: since_attach - uncertain - attributed,
            }
        });
        NamespaceBalance { counters, certain: self.certain, read }
    }
}

fn signed(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

#[cfg(test)]
#[path = "reconcile_tests.rs"]
mod tests;
