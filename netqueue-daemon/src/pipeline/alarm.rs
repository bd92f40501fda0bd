//! Timer of the pipeline, which wakes it once for each time it is due.
//!
//! The runtime's own timers are sorted by ever finer steps: one more than 64 ms away wakes its thread first
//! to be sorted again, and then once more.

use std::{
    io,
    os::fd::{AsFd as _, OwnedFd},
};

use nix::sys::{
    time::TimeSpec,
    timerfd::{ClockId, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags},
};
use tokio::{io::unix::AsyncFd, time::Instant};

/// Timer of the kernel (timerfd).
pub(super) struct Alarm {
    timer: TimerFd,
    rings: AsyncFd<OwnedFd>,
    /// Time for which the timer is set.
    due: Option<Instant>,
}

impl Alarm {
    /// Makes a timer that is not set.
    ///
    /// # Errors
    /// The kernel has no file descriptor left.
    pub(super) fn new() -> io::Result<Self> {
        let timer =
            TimerFd::new(ClockId::CLOCK_MONOTONIC, TimerFlags::TFD_NONBLOCK | TimerFlags::TFD_CLOEXEC)?;
        let descriptor = timer.as_fd().try_clone_to_owned()?;
        // SAFETY: the `AsyncFd` owns the descriptor, which is neither replaced nor closed meanwhile.
        let rings = unsafe { AsyncFd::register(descriptor) }?;
        Ok(Self { timer, rings, due: None })
    }

    /// Waits until `due`. May be dropped and called again, with another time or the same.
    pub(super) async fn at(&mut self, due: Instant) -> io::Result<()> {
        loop {
            // A duration of zero would disarm the timer.
            let left = due.saturating_duration_since(Instant::now());
            if left.is_zero() {
                self.due = None;
                return Ok(());
            }
            if self.due != Some(due) {
                let once = Expiration::OneShot(TimeSpec::from_duration(left));
                self.timer.set(once, TimerSetTimeFlags::empty())?;
                self.due = Some(due);
            }
            // May be an expiration from before the timer was set anew, which is no reason to return.
            self.rings.readable().await?.clear_ready();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test]
    async fn it_rings_when_it_is_due_also_after_it_was_set_to_another_time() {
        let (mut alarm, start) = (Alarm::new().expect("a descriptor"), Instant::now());
        let (soon, late) = (start + Duration::from_millis(5), start + Duration::from_millis(40));
        let early = tokio::time::timeout(Duration::from_millis(1), alarm.at(late)).await;
        assert!(early.is_err());
        alarm.at(soon).await.expect("it rings");
        assert!(Instant::now() >= soon);
        tokio::time::timeout(Duration::ZERO, alarm.at(late)).await.expect_err("not yet");
        alarm.at(late).await.expect("it rings");
        assert!(Instant::now() >= late);
        alarm.at(soon).await.expect("that is over");
    }
}
