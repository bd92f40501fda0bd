//! Times as people read and write them, and their relation to [`Timestamp`], which no one can set.

use serde::{Deserialize, Serialize};

use super::Timestamp;

/// A moment as the wall clock shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct WallTime(Timestamp);

impl WallTime {
    /// Returns the time `nanos` nanoseconds after the Unix epoch.
    #[must_use]
    pub const fn from_nanos(nanos: u64) -> Self {
        Self(Timestamp::from_nanos(nanos))
    }

    /// Returns the nanoseconds since the Unix epoch.
    #[must_use]
    pub const fn as_nanos(self) -> u64 {
        self.0.as_nanos()
    }

    /// Returns the seconds since the Unix epoch.
    #[must_use]
    pub fn as_secs_f64(self) -> f64 {
        self.0.since(Timestamp::from_nanos(0)).as_secs_f64()
    }

    /// Formats as RFC 3339 in UTC with nanoseconds, `2026-01-31T12:34:56.789000000Z`.
    #[must_use]
    pub fn to_rfc3339(self) -> String {
        self.0.to_rfc3339()
    }
}

/// Wall clock, as far as it was stepped since netqueue began.
///
/// Every time of an answer is shown on the wall clock as it is set now, also of what happened before it was
/// stepped. So an event of an hour ago is shown as one of an hour ago, times of one answer stay in the order
/// of the events, and what a client computes from them is right. The price: the same event has another time
/// before and after the step.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct WallClock {
    /// Nanoseconds of all steps together; negative if the clock was set back.
    stepped: i64,
}

impl WallClock {
    /// Difference below which two clocks are the same, in nanoseconds: a millisecond. Less is an error of
    /// measurement, and nothing that anybody would step a clock by.
    const CLOSE: u64 = 1_000_000;

    /// Creates a clock that was stepped by so many nanoseconds in all.
    #[must_use]
    pub const fn stepped_by(nanos: i64) -> Self {
        Self { stepped: nanos }
    }

    /// Returns whether the clock was not stepped from one state to the other.
    #[must_use]
    pub const fn is_close_to(self, other: Self) -> bool {
        self.stepped.abs_diff(other.stepped) < Self::CLOSE
    }

    /// Returns the seconds by which the clock was stepped since `earlier`; negative if it was set back.
    #[must_use]
    pub fn seconds_after(self, earlier: Self) -> f64 {
        self.stepped.saturating_sub(earlier.stepped) as f64 / 1e9
    }

    /// Returns the time that the clock shows at a moment.
    #[must_use]
    pub const fn show(self, at: Timestamp) -> WallTime {
        WallTime::from_nanos(at.as_nanos().saturating_add_signed(self.stepped))
    }

    /// Returns the moment at which the clock shows, or would have shown, this time.
    #[must_use]
    pub const fn find(self, shown: WallTime) -> Timestamp {
        Timestamp::from_nanos(shown.as_nanos().saturating_add_signed(self.stepped.saturating_neg()))
    }

    /// Formats a moment as RFC 3339.
    #[must_use]
    pub fn rfc3339(self, at: Timestamp) -> String {
        self.show(at).to_rfc3339()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_shown_is_found_again_whichever_way_the_clock_was_stepped() {
        let at = Timestamp::from_nanos(1_790_000_000_123_456_789);
        for nanos in [0, 86_400_000_000_000, -86_400_000_000_001, -1] {
            let clock = WallClock::stepped_by(nanos);
            assert_eq!(clock.find(clock.show(at)), at, "{nanos}");
        }
    }

    #[test]
    fn a_clock_before_the_epoch_shows_the_epoch() {
        let clock = WallClock::stepped_by(-5);
        assert_eq!(clock.rfc3339(Timestamp::from_nanos(3)), "1970-01-01T00:00:00.000000000Z");
    }
}
