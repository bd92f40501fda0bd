//! The exact counts of one account.

use serde::{Deserialize, Serialize};

use super::{DropKind, Handshakes, KernelCounter, PerCounter, ResetCause, by_name::ByName};

/// Charges of an account since netqueue attached. Values only grow.
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
    #[serde(alias = "untold")]
    unreported: Unreported,
    #[serde(skip_serializing_if = "super::event::is_default")]
    helper_overflows: u64,
}

/// Drops and resets that were counted but have no event.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Unreported {
    /// Events suppressed because the account had used up its allowance.
    pub suppressed: u64,
    /// Events lost because the ring buffer was full.
    pub lost: u64,
}

impl Counts {
    /// Builds counts read from the kernel side: one value per drop kind, reset cause and kernel counter.
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
            unreported: Unreported::default(),
            helper_overflows: 0,
        }
    }

    /// Replaces the outcomes of handshakes.
    #[must_use]
    pub const fn with_handshakes(self, handshakes: Handshakes) -> Self {
        Self { handshakes, ..self }
    }

    /// Replaces the numbers of drops and resets without an event.
    #[must_use]
    pub const fn with_unreported(self, unreported: Unreported) -> Self {
        Self { unreported, ..self }
    }

    /// Replaces the number of overflows seen by the BPF SYN-cookie helper.
    #[must_use]
    pub const fn with_helper_overflows(self, helper_overflows: u64) -> Self {
        Self { helper_overflows, ..self }
    }

    /// Returns how often the BPF SYN-cookie helper found this listener's accept queue full. These
    /// increments of ListenOverflows are no drops.
    #[must_use]
    pub const fn helper_overflows(&self) -> u64 {
        self.helper_overflows
    }

    /// Returns the numbers of drops and resets without an event.
    #[must_use]
    pub const fn unreported(&self) -> Unreported {
        self.unreported
    }

    /// Returns the outcomes of handshakes whose final ACK was dropped.
    #[must_use]
    pub const fn handshakes(&self) -> &Handshakes {
        &self.handshakes
    }

    /// Iterates over the drops by kind.
    pub fn drops(&self) -> impl Iterator<Item = (DropKind, u64)> + '_ {
        DropKind::ALL.into_iter().zip(self.drops)
    }

    /// Iterates over the resets by cause.
    pub fn resets(&self) -> impl Iterator<Item = (ResetCause, u64)> + '_ {
        ResetCause::ALL.into_iter().zip(self.resets)
    }

    /// Returns this account's share of the kernel counters.
    #[must_use]
    pub const fn kernel(&self) -> &PerCounter<u64> {
        &self.kernel
    }

    /// Sums all drops: this account's ListenDrops.
    #[must_use]
    pub fn drop_total(&self) -> u64 {
        self.drops.iter().sum()
    }

    /// Sums all resets: this account's OutRsts.
    #[must_use]
    pub fn reset_total(&self) -> u64 {
        self.resets.iter().sum()
    }

    /// Subtracts `part`, an earlier state of these counts; [`Self::unreported`] stays as it is.
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

    /// Returns whether total drops, total resets and every kernel counter are at most those of `other`.
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
        self.unreported.suppressed += other.unreported.suppressed;
        self.unreported.lost += other.unreported.lost;
        self.helper_overflows += other.helper_overflows;
        self.kernel = PerCounter::from_fn(|counter| self.kernel.get(counter) + other.kernel.get(counter));
    }
}
