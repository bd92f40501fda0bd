//! The exact counts of one account.

use serde::{Deserialize, Serialize};

use super::{DropKind, Handshakes, KernelCounter, PerCounter, ResetCause, by_name::ByName};

/// What an account was charged since netqueue attached. Values only grow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Counts {
    #[serde(with = "ByName::<DropKind>")]
    drops: [u64; DropKind::ALL.len()],
    #[serde(with = "ByName::<ResetCause>")]
    resets: [u64; ResetCause::ALL.len()],
    kernel: PerCounter<u64>,
    #[serde(skip_serializing_if = "super::event::is_default")]
    handshakes: Handshakes,
    #[serde(skip_serializing_if = "super::event::is_default")]
    untold: Untold,
    #[serde(skip_serializing_if = "super::event::is_default")]
    helper_overflows: u64,
}

/// Drops and resets that were counted and of which there is no event.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Untold {
    /// The account had used up its allowance of events.
    pub suppressed: u64,
    /// The ring buffer was full.
    pub lost: u64,
}

impl Counts {
    /// Counts read from the kernel side: one value for each drop kind, reset cause and kernel counter.
    pub fn from_fn(
        drops: impl FnMut(DropKind) -> u64,
        resets: impl FnMut(ResetCause) -> u64,
        kernel: impl FnMut(KernelCounter) -> u64,
    ) -> Self {
        Self {
            drops: DropKind::ALL.map(drops),
            resets: ResetCause::ALL.map(resets),
            kernel: PerCounter::from_fn(kernel),
            handshakes: Handshakes::default(),
            untold: Untold::default(),
            helper_overflows: 0,
        }
    }

    /// The same counts with what became of handshakes.
    #[must_use]
    pub const fn with_handshakes(self, handshakes: Handshakes) -> Self {
        Self { handshakes, ..self }
    }

    /// The same counts with how many have no event.
    #[must_use]
    pub const fn with_untold(self, untold: Untold) -> Self {
        Self { untold, ..self }
    }

    /// The same counts with this many overflows of the BPF SYN-cookie helper.
    #[must_use]
    pub const fn with_helper_overflows(self, helper_overflows: u64) -> Self {
        Self { helper_overflows, ..self }
    }

    /// How often the BPF SYN-cookie helper found this listener's accept queue full: a part of ListenOverflows that is no drop.
    #[must_use]
    pub const fn helper_overflows(&self) -> u64 {
        self.helper_overflows
    }

    /// How many of the drops and resets have no event.
    #[must_use]
    pub const fn untold(&self) -> Untold {
        self.untold
    }

    /// Handshakes whose final ACK was dropped.
    #[must_use]
    pub const fn handshakes(&self) -> &Handshakes {
        &self.handshakes
    }

    /// Drops by kind.
    pub fn drops(&self) -> impl Iterator<Item = (DropKind, u64)> + '_ {
        DropKind::ALL.into_iter().zip(self.drops)
    }

    /// Resets by cause.
    pub fn resets(&self) -> impl Iterator<Item = (ResetCause, u64)> + '_ {
        ResetCause::ALL.into_iter().zip(self.resets)
    }

    /// The kernel counters' part of this account.
    #[must_use]
    pub const fn kernel(&self) -> &PerCounter<u64> {
        &self.kernel
    }

    /// All drops together: this account's ListenDrops.
    #[must_use]
    pub fn drop_total(&self) -> u64 {
        self.drops.iter().sum()
    }

    /// All resets together: this account's OutRsts.
    #[must_use]
    pub fn reset_total(&self) -> u64 {
        self.resets.iter().sum()
    }

    /// These counts without `part`, an earlier state of the same ones.
    #[must_use]
    pub fn less(&self, part: &Self) -> Self {
        let mut rest = *self;
        let take = |mine: &mut [u64], part: &[u64]| {
            mine.iter_mut().zip(part).for_each(|(mine, part)| *mine = mine.saturating_sub(*part));
        };
        take(&mut rest.drops, &part.drops);
        take(&mut rest.resets, &part.resets);
        rest.handshakes = self.handshakes.less(&part.handshakes);
        rest.helper_overflows = self.helper_overflows.saturating_sub(part.helper_overflows);
        rest.kernel =
            PerCounter::from_fn(|counter| self.kernel.get(counter).saturating_sub(part.kernel.get(counter)));
        rest
    }

    /// Whether nothing in it is more than in the other.
    #[must_use]
    pub fn within(&self, other: &Self) -> bool {
        self.drop_total() <= other.drop_total()
            && self.reset_total() <= other.reset_total()
            && self.kernel.iter().all(|(counter, value)| value <= other.kernel.get(counter))
    }

    /// Adds another account's counts.
    pub fn add(&mut self, other: &Self) {
        let add = |mine: &mut [u64], theirs: &[u64]| mine.iter_mut().zip(theirs).for_each(|(a, b)| *a += b);
        add(&mut self.drops, &other.drops);
        add(&mut self.resets, &other.resets);
        self.handshakes.add(&other.handshakes);
        self.untold.suppressed += other.untold.suppressed;
        self.untold.lost += other.untold.lost;
        self.helper_overflows += other.helper_overflows;
        self.kernel = PerCounter::from_fn(|counter| self.kernel.get(counter) + other.kernel.get(counter));
    }
}
