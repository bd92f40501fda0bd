//! What is ordinary: the mean and the scatter of drops per window, recent windows weighing more.

use std::time::Duration;

/// Drops come in clumps even when nothing is wrong: one client repeats its SYN several times. Until enough windows are
/// known, the variance is taken to be this many times the mean (a Poisson process has 1).
const CLUMPED: f64 = 3.0;

/// What windows of equal length held, older ones fading.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Baseline {
    windows: f64,
    drops: f64,
    squares: f64,
}

impl Baseline {
    /// A window of length `window` ended with so many drops in it; what is older than `memory` fades.
    pub(super) fn learn(&mut self, drops: u64, window: Duration, memory: Duration) {
        let keep = (-window.as_secs_f64() / memory.as_secs_f64()).exp();
        let drops = drops as f64;
        self.windows = self.windows * keep + 1.0;
        self.drops = self.drops * keep + drops;
        self.squares = self.squares * keep + drops * drops;
    }

    /// `windows` windows without any drop: those before a scope had its first.
    pub(super) fn quiet(windows: f64, window: Duration, memory: Duration) -> Self {
        // What learning them one by one would come to.
        let keep = (-window.as_secs_f64() / memory.as_secs_f64()).exp();
        Self { windows: (1.0 - keep.powf(windows)) / (1.0 - keep), drops: 0.0, squares: 0.0 }
    }

    /// Drops per window, on average.
    pub(super) fn mean(&self) -> f64 {
        if self.windows > 0.0 { self.drops / self.windows } else { 0.0 }
    }

    /// More drops than this in one window are not ordinary.
    pub(super) fn threshold(&self, factor: f64, deviations: f64) -> f64 {
        let windows = self.windows.max(1.0);
        // As high as the mean may well be, for what little is known: three standard errors above what was seen.
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
