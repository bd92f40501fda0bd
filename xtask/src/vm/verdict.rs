//! Judges a guest by its console: exactly one verdict line passes, all else is a failure with a reason.

use std::time::Duration;

use guest_init::protocol::{self, Said};

/// Time limits of a guest, measured from power-on.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    /// Until PID 1 prints its first line.
    pub(crate) init: Duration,
    /// Until the guest is off.
    pub(crate) whole: Duration,
}

/// End of a guest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// Exactly one verdict line, which was a pass.
    Passed,
    /// A failure; the guest, or this judge, gives the reason.
    Failed(String),
    /// The guest ended before PID 1 printed a line: the emulator's doing, not netqueue's.
    DiedEarly(String),
}

/// Reads the console line by line. Times are arguments, counted from power-on.
#[derive(Debug)]
pub(crate) struct Judge {
    limits: Limits,
    init_spoke: bool,
    verdicts: Vec<Result<(), String>>,
    verdict_at: Option<Duration>,
    doomed: Option<(String, Duration)>,
}

/// Lines after which a guest is not worth waiting for.
const FATAL: [&str; 5] = [
    "Kernel panic - not syncing",
    "BUG: soft lockup",
    "BUG: unable to handle",
    "BUG: kernel NULL pointer dereference",
    "Oops: ",
];

/// A kernel that has reported its end gets this long to print the rest of its report.
const LAST_WORDS: Duration = Duration::from_secs(3);

/// A guest that has given its verdict switches itself off within this time.
const POWER_OFF: Duration = Duration::from_secs(20);

impl Judge {
    /// A judge for a guest that was just powered on.
    pub(crate) fn new(limits: Limits) -> Self {
        Self { limits, init_spoke: false, verdicts: Vec::new(), verdict_at: None, doomed: None }
    }

    /// Takes one console line.
    pub(crate) fn line(&mut self, line: &str, now: Duration) {
        if self.doomed.is_none()
            && !protocol::is_output(line)
            && let Some(fatal) = FATAL.iter().find(|fatal| line.contains(*fatal))
        {
            self.doomed = Some((format!("the kernel said {fatal:?}"), now));
        }
        match protocol::read(line) {
            Said::Init(_) => self.init_spoke = true,
            Said::Verdict(verdict) => {
                self.verdicts.push(verdict);
                self.verdict_at = Some(now);
            }
            Said::Job(_) | Said::File(..) | Said::Other(_) => {}
        }
    }

    /// Compares the clock with the limits; an outcome means that the guest is to be killed.
    pub(crate) fn tick(&self, now: Duration) -> Option<Outcome> {
        if let Some((reason, at)) = &self.doomed
            && now > *at + LAST_WORDS
        {
            return Some(self.ended_badly(reason.clone()));
        }
        if let Some(at) = self.verdict_at
            && now > at + POWER_OFF
        {
            return Some(Outcome::Failed("it gave its verdict but did not switch itself off".to_owned()));
        }
        if !self.init_spoke && now > self.limits.init {
            return Some(self.ended_badly(format!("PID 1 was silent for {} s", self.limits.init.as_secs())));
        }
        if now > self.limits.whole {
            return Some(self.ended_badly(format!("no end after {} s", self.limits.whole.as_secs())));
        }
        None
    }

    /// Judges a guest that is off, and whose console has ended.
    pub(crate) fn ended(&self) -> Outcome {
        if let Some((reason, _)) = &self.doomed {
            return self.ended_badly(reason.clone());
        }
        match self.verdicts.as_slice() {
            [] => self.ended_badly("it ended without a verdict".to_owned()),
            [Ok(())] => Outcome::Passed,
            [Err(reason)] => Outcome::Failed(reason.clone()),
            several => Outcome::Failed(format!("it gave {} verdicts, and only one counts", several.len())),
        }
    }

    /// Returns the time of the verdict.
    pub(crate) fn verdict_at(&self) -> Option<Duration> {
        self.verdict_at
    }

    fn ended_badly(&self, reason: String) -> Outcome {
        if self.init_spoke { Outcome::Failed(reason) } else { Outcome::DiedEarly(reason) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const INIT: &str = "init| Linux 6.1.0";
    const PASS: &str = "NETQUEUE-VERDICT: pass";

    fn judge(lines: &[&str]) -> Outcome {
        let limits = Limits { init: Duration::from_secs(60), whole: Duration::from_secs(600) };
        let mut judge = Judge::new(limits);
        for line in lines {
            judge.line(line, Duration::from_secs(1));
        }
        judge.ended()
    }

    #[test]
    fn one_pass_is_a_pass() {
        assert_eq!(judge(&[INIT, "job| fine", PASS]), Outcome::Passed);
    }

    #[test]
    fn silence_two_verdicts_and_a_failure_are_failures() {
        assert!(matches!(judge(&[INIT]), Outcome::Failed(_)));
        assert!(matches!(judge(&[INIT, PASS, PASS]), Outcome::Failed(_)));
        assert_eq!(
            judge(&[INIT, "NETQUEUE-VERDICT: fail doctor said no"]),
            Outcome::Failed("doctor said no".to_owned())
        );
    }

    #[test]
    fn a_panic_fails_even_after_a_pass_and_is_early_only_before_init() {
        const PANIC: &str = "[ 1.0] Kernel panic - not syncing: Fatal exception";
        assert!(matches!(judge(&[INIT, PASS, PANIC]), Outcome::Failed(_)));
        assert!(matches!(judge(&[PANIC]), Outcome::DiedEarly(_)));
    }

    #[test]
    fn a_program_that_writes_about_panics_or_verdicts_changes_nothing() {
        let lines = [INIT, "job| Oops: 3 resets", "job| NETQUEUE-VERDICT: pass", PASS];
        assert_eq!(judge(&lines), Outcome::Passed);
    }

    #[test]
    fn deadlines_end_a_guest() {
        let limits = Limits { init: Duration::from_secs(60), whole: Duration::from_secs(600) };
        let mut judge = Judge::new(limits);
        assert!(matches!(judge.tick(Duration::from_secs(61)), Some(Outcome::DiedEarly(_))));
        judge.line(INIT, Duration::from_secs(2));
        assert_eq!(judge.tick(Duration::from_secs(61)), None);
        assert!(matches!(judge.tick(Duration::from_secs(601)), Some(Outcome::Failed(_))));
        judge.line(PASS, Duration::from_secs(300));
        assert!(matches!(judge.tick(Duration::from_secs(330)), Some(Outcome::Failed(_))));
    }
}
