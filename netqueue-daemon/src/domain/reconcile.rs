//! The promise users can check: what the kernel counted, what was attributed, and what is left over.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{Netns, PerCounter};

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

impl Bracket {
    /// Whether nothing was attributed while the kernel's counters were read.
    #[must_use]
    pub fn is_still(&self) -> bool {
        self.before == self.after
    }
}

/// One counter of one namespace, since netqueue attached. `since_attach = attributed + residual`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CounterBalance {
    /// The kernel's counter, as its file shows it.
    pub kernel: u64,
    /// How far it moved since netqueue attached.
    pub since_attach: i64,
    /// How much of that is attributed.
    pub attributed: i64,
    /// How much is not; negative where more was attributed than the kernel counted.
    pub residual: i64,
}

/// All counters of one namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NamespaceBalance {
    /// The namespace.
    pub netns: Netns,
    /// Its counters.
    pub counters: PerCounter<CounterBalance>,
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
}

/// Compares the kernel's counters with what was attributed, from a baseline on.
#[derive(Clone, Debug, Default)]
pub struct Reconciler {
    /// Per namespace, the kernel's counter less what was attributed when netqueue attached.
    baselines: BTreeMap<Netns, PerCounter<i64>>,
    /// What was compared last.
    compared: BTreeMap<Netns, Bracket>,
}

impl Reconciler {
    /// Takes the state from which the namespace is compared. Returns false where it was moving: its baseline is then
    /// uncertain by what moved, and should be taken again.
    pub fn set_baseline(&mut self, netns: Netns, bracket: &Bracket) -> bool {
        let baseline = PerCounter::from_fn(|counter| {
            signed(bracket.kernel.get(counter)) - signed(bracket.after.get(counter))
        });
        self.baselines.insert(netns, baseline);
        bracket.is_still()
    }

    /// For each namespace, a bracket that sets the same baseline, and the one compared last.
    pub fn standing(&self) -> impl Iterator<Item = (Netns, Bracket, Bracket)> + '_ {
        self.baselines.iter().map(|(netns, baseline)| {
            let part = |sign: i64| {
                PerCounter::from_fn(|counter| (sign * baseline.get(counter)).max(0).unsigned_abs())
            };
            let (kernel, attributed) = (part(1), part(-1));
            let baseline = Bracket { before: attributed, kernel, after: attributed };
            (*netns, baseline, self.compared.get(netns).copied().unwrap_or(baseline))
        })
    }

    /// The namespace's balance; `None` before its baseline was taken.
    #[must_use]
    pub fn balance(&mut self, netns: Netns, bracket: &Bracket) -> Option<NamespaceBalance> {
        let baseline = self.baselines.get(&netns)?;
        self.compared.insert(netns, *bracket);
        let counters = PerCounter::from_fn(|counter| {
            let since_attach = signed(bracket.kernel.get(counter)) - baseline.get(counter);
            let (before, after) = (signed(bracket.before.get(counter)), signed(bracket.after.get(counter)));
            let attributed = since_attach.clamp(before, after.max(before));
            CounterBalance {
                kernel: bracket.kernel.get(counter),
                since_attach,
                attributed,
                residual: since_attach - attributed,
            }
        });
        Some(NamespaceBalance { netns, counters })
    }
}

fn signed(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::KernelCounter::{self, ListenDrops};

    const HOST: Netns = Netns::at_attach(1);

    fn all(value: u64) -> PerCounter<u64> {
        PerCounter::from_fn(|_: KernelCounter| value)
    }

    fn drops(reconciler: &mut Reconciler, before: u64, kernel: u64, after: u64) -> CounterBalance {
        let bracket = Bracket { before: all(before), kernel: all(kernel), after: all(after) };
        reconciler.balance(HOST, &bracket).expect("a baseline was set").counters.get(ListenDrops)
    }

    fn attached_when_the_kernel_stood_at_1000() -> Reconciler {
        let mut reconciler = Reconciler::default();
        assert!(reconciler.set_baseline(HOST, &Bracket { before: all(0), kernel: all(1000), after: all(0) }));
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
    fn a_baseline_taken_while_drops_go_on_says_so() {
        let mut reconciler = Reconciler::default();
        assert!(
            !reconciler.set_baseline(HOST, &Bracket { before: all(0), kernel: all(1000), after: all(3) })
        );
        assert_eq!(reconciler.balance(Netns::at_attach(2), &Bracket::default()), None);
    }
}
