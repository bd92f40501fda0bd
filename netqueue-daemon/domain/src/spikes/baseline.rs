//! Ordinary level of drops: mean and scatter per window, recent windows weighing more.

use std::time::Duration;

/// Ratio of variance to mean assumed until enough windows are known; a Poisson process has 1. Drops
/// come in clumps even when nothing is wrong, because one client repeats its SYN several times.
const CLUMPED: f64 = 3.0;

/// Drops in windows of equal length, older ones fading.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Baseline {
    windows: f64,
    drops: f64,
    squares: f64,
}

impl Baseline {
    /// Takes in a window of length `window` with its drops; what is older than `memory` fades.
    pub(super) fn learn(&mut self, drops: u64, window: Duration, memory: Duration) {
        let keep = (-window.as_secs_f64() / memory.as_secs_f64()).exp();
        let drops = drops as f64;
        self.windows = self.windows * keep + 1.0;
        self.drops = self.drops * keep + drops;
        self.squares = self.squares * keep + drops * drops;
    }

    /// Creates the baseline of `windows` windows without drops: those before a scope had its first.
    pub(super) fn quiet(windows: f64, window: Duration, memory: Duration) -> Self {
        // Equal to learning them one by one.
        let keep = (-window.as_secs_f64() / memory.as_secs_f64()).exp();
        Self { windows: (1.0 - keep.powf(windows)) / (1.0 - keep), drops: 0.0, squares: 0.0 }
    }

    /// Returns the average number of drops per window.
    pub(super) fn mean(&self) -> f64 {
        if self.windows > 0.0 { self.drops / self.windows } else { 0.0 }
    }

    /// Returns the number of drops in one window above which they are not ordinary.
    pub(super) fn threshold(&self, factor: f64, deviations: f64) -> f64 {
        let windows = self.windows.max(1.0);
        // The mean as high as it may well be, for what little is known: three standard errors above the
        // observed.
        let mean = (self.drops + 3.0 * (CLUMPED * self.drops).sqrt() + CLUMPED) / windows;
        let scatter = if self.drops > 0.0 {
            (self.squares / self.windows - self.mean().powi(2)) / self.mean()
        } else {
            0.0
        };
        let deviation = (scatter.max(CLUMPED) * mean).sqrt();
        (factor * mean).max(mean + deviations * deviation)
    }
}
