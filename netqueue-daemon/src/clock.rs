//! All readings of the time.
//!
//! A [`Timestamp`] is the wall clock at one moment, the anchor, advanced by CLOCK_BOOTTIME. Intervals between
//! timestamps are therefore exact whatever is done to the wall clock, suspension included: a clock set back a
//! day neither silences the spike detector nor stops retention. The kernel steers both clocks by the same
//! frequency, so their difference changes only when somebody steps the wall clock. Each refresh measures that
//! difference again ([`wall_clock`]), and it is applied when times are shown, parsed from queries, or written
//! to the event log.

use std::{
    sync::OnceLock,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use nix::time::{ClockId, clock_gettime};

use netqueue_domain::{Timestamp, WallClock, WallTime};

/// Number of measurements of a clock difference, of which the quickest is used.
const TRIES: usize = 4;

/// Difference of the wall clock and CLOCK_BOOTTIME at the first reading of the time, in nanoseconds.
static ANCHOR: OnceLock<i64> = OnceLock::new();

/// Returns the present time; never earlier than what was returned before.
#[must_use]
pub fn now() -> Timestamp {
    moment(anchor(), boot())
}

/// Returns how far the wall clock was stepped since the anchor was taken.
#[must_use]
pub fn wall_clock() -> WallClock {
    let anchor = anchor();
    WallClock::stepped_by(difference(wall, boot) - anchor)
}

/// Returns the time that the wall clock shows.
#[must_use]
pub fn wall_time() -> WallTime {
    WallTime::from_nanos(u64::try_from(wall()).unwrap_or(0))
}

/// Returns the time at which CLOCK_MONOTONIC was zero, the epoch of the kernel side's time stamps.
/// Independent of the wall clock. A suspension moves it, since CLOCK_MONOTONIC stops meanwhile.
#[must_use]
pub fn monotonic_epoch() -> Timestamp {
    moment(anchor(), difference(boot, monotonic))
}

/// CPU time of the calling thread since a moment.
/// Pauses are proportional to it, not to wall time: the latter would grow with the load of the machine, where
/// work takes long because it waits for a CPU.
#[derive(Debug)]
pub struct CpuTime {
    begun: Instant,
    used: Option<Duration>,
}

impl CpuTime {
    /// Starts a measurement.
    #[must_use]
    pub fn begin() -> Self {
        Self { begun: Instant::now(), used: cpu_time_of_thread() }
    }

    /// Returns the CPU time since the start, on the same thread; wall time if the system does not report
    /// CPU time.
    #[must_use]
    pub fn used(&self) -> Duration {
        let used = self.used.zip(cpu_time_of_thread()).map(|(before, after)| after.saturating_sub(before));
        used.unwrap_or_else(|| self.begun.elapsed())
    }
}

fn cpu_time_of_thread() -> Option<Duration> {
    clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).ok().map(Duration::from)
}

fn anchor() -> i64 {
    *ANCHOR.get_or_init(|| difference(wall, boot))
}

fn moment(anchor: i64, boot: i64) -> Timestamp {
    Timestamp::from_nanos(u64::try_from(anchor.saturating_add(boot)).unwrap_or(0))
}

/// Returns how far `one` is ahead of `other`, in nanoseconds.
/// Reading one clock between two readings of the other bounds the error by half of the time that both
/// readings take, so a measurement that was interrupted is not used.
fn difference(one: impl Fn() -> i64, other: impl Fn() -> i64) -> i64 {
    let measure = |_| {
        let (before, ahead, after) = (other(), one(), other());
        let took = after - before;
        (took, ahead - before - took / 2)
    };
    (0..TRIES).map(measure).min_by_key(|(took, _)| *took).map_or(0, |(_, difference)| difference)
}

fn boot() -> i64 {
    read(ClockId::CLOCK_BOOTTIME)
}

fn monotonic() -> i64 {
    read(ClockId::CLOCK_MONOTONIC)
}

/// Reads one of the kernel's clocks in nanoseconds; all those used exist since Linux 2.6.39.
fn read(clock: ClockId) -> i64 {
    clock_gettime(clock).map(Duration::from).map_or(0, nanos)
}

fn wall() -> i64 {
    nanos(SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default())
}

fn nanos(span: Duration) -> i64 {
    i64::try_from(span.as_nanos()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    const DAY: i64 = 86_400_000_000_000;

    #[test]
    fn time_goes_on_where_the_wall_clock_is_set_back() {
        let (wall, boot) = (Cell::new(20_000 * DAY), Cell::new(5));
        let anchor = difference(|| wall.get(), || boot.get());
        let before = moment(anchor, boot.get());
        wall.set(wall.get() - DAY + 7);
        boot.set(boot.get() + 7);
        let after = moment(anchor, boot.get());
        assert_eq!(after.since(before), Duration::from_nanos(7));
        let stepped = WallClock::stepped_by(difference(|| wall.get(), || boot.get()) - anchor);
        assert_eq!(stepped, WallClock::stepped_by(-DAY));
        assert_eq!(stepped.show(after).as_nanos().cast_signed(), wall.get());
    }

    #[test]
    fn an_interrupted_measurement_does_not_count() {
        let readings = Cell::new(0);
        let boot = || {
            readings.set(readings.get() + 1);
            // The first measurement is interrupted for a second.
            if readings.get() == 1 { 0 } else { 1_000_000_000 + readings.get() }
        };
        let wall = || 50_000_000_000 + 1_000_000_000 + readings.get();
        let error = (difference(wall, boot) - 50_000_000_000).abs();
        assert!(error <= 1, "{error} ns");
    }

    #[test]
    fn the_anchor_is_the_wall_clock_and_the_kernels_time_stamps_fit_it() {
        let close = |one: Timestamp, other: i64| one.as_nanos().cast_signed().abs_diff(other) < 1_000_000_000;
        assert!(close(now(), wall()));
        let stamped = monotonic_epoch().plus(Duration::from_nanos(monotonic().cast_unsigned()));
        assert!(close(stamped, wall()));
        assert!(wall_clock().is_close_to(WallClock::default()));
    }
}
