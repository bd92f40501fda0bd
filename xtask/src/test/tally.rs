//! Counts of what passed and failed, parsed from the output of other programs.

/// Numbers of checks that passed and failed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    pub(crate) passed: u32,
    pub(crate) failed: u32,
    /// Names of the failed checks, where the output has them, and other remarks.
    pub(crate) remarks: String,
    /// A line for each reason of a failure, where the output has them.
    pub(crate) reasons: Vec<String>,
}

impl Tally {
    /// One failure.
    pub(crate) const FAILURE: Self = Self::new(0, 1);

    /// Builds a tally of these counts.
    pub(crate) const fn new(passed: u32, failed: u32) -> Self {
        Self { passed, failed, remarks: String::new(), reasons: Vec::new() }
    }

    /// Counts one check.
    pub(crate) fn of(passed: bool) -> Self {
        if passed { Self::new(1, 0) } else { Self::FAILURE }
    }

    pub(crate) fn add(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.remarks += &other.remarks;
        self.reasons.extend(other.reasons);
    }

    /// Formats the counts behind a step's name, where there is more than one thing to count.
    pub(crate) fn counts(&self) -> String {
        if self.passed + self.failed > 1 {
            format!(": {}{}", summary(self), self.remarks)
        } else {
            self.remarks.clone()
        }
    }

    /// Counts one failure if the program failed without counting any.
    pub(crate) fn or_failure(self, succeeded: bool) -> Self {
        if !succeeded && self.failed == 0 { Self { failed: 1, ..self } } else { self }
    }
}

/// Formats the line that ends a test run.
pub(crate) fn summary(tally: &Tally) -> String {
    format!("{} passed, {} failed", tally.passed, tally.failed)
}

/// Parses a line that [`summary`] wrote.
pub(crate) fn read_summary(line: &str) -> Option<Tally> {
    let (passed, failed) = line.strip_suffix(" failed")?.split_once(" passed, ")?;
    Some(Tally::new(passed.parse().ok()?, failed.parse().ok()?))
}

/// Parses `Summary [ 1.2s] 12 tests run: 10 passed (1 slow), 1 failed, 1 timed out, 0 skipped`.
pub(crate) fn nextest(lines: &[String]) -> Option<Tally> {
    let line = lines.iter().rfind(|line| line.contains("Summary [") && line.contains("run:"))?;
    let (_, counts) = line.split_once("run:")?;
    let mut tally = Tally::default();
    for part in counts.split(',') {
        let count = || part.split_whitespace().next()?.parse::<u32>().ok();
        if part.contains("passed") {
            tally.passed += count()?;
        } else if !part.contains("skipped") {
            tally.failed += count()?;
        }
    }
    Some(tally)
}

/// Parses `test result: ok. 12 passed; 0 failed; ...`, once per test binary.
pub(crate) fn cargo_test(lines: &[String]) -> Option<Tally> {
    let mut results = lines.iter().filter_map(|line| line.strip_prefix("test result: ")).peekable();
    results.peek()?;
    let mut total = Tally::default();
    for result in results {
        let (_, counts) = result.split_once(". ")?;
        let mut numbers = counts.split("; ").map(|part| part.split(' ').next()?.parse().ok());
        total.add(Tally::new(numbers.next()??, numbers.next()??));
    }
    total.reasons = lines.iter().filter(|line| line.ends_with(" ... FAILED")).cloned().collect();
    Some(total)
}

/// Parses `lab: 12 passed, 0 failed`, the line the lab ends with, and the reasons above it.
pub(crate) fn lab(lines: &[String]) -> Option<Tally> {
    let counts = lines.iter().rev().find_map(|line| line.strip_prefix("lab: "))?;
    let (passed, failed) = counts.split_once(" passed, ")?;
    let (failed, remarks) = failed.split_once(" failed")?;
    let reasons = lines.iter().filter_map(|line| line.strip_prefix("lab: failed ")).map(str::to_owned);
    Some(Tally {
        passed: passed.parse().ok()?,
        failed: failed.parse().ok()?,
        remarks: remarks.to_owned(),
        reasons: reasons.collect(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(text: &str) -> Vec<String> {
        text.lines().map(str::to_owned).collect()
    }

    #[test]
    fn a_summary_reads_back_as_it_was_written() {
        let tally = Tally::new(153, 2);
        assert_eq!(read_summary(&summary(&tally)), Some(tally));
        assert_eq!(read_summary("153 passed"), None);
    }

    #[test]
    fn nextests_summary_is_read() {
        let said = lines(
            "     Summary [   0.004s] 12 tests run: 10 passed (1 slow), 1 failed, 1 timed out, 3 skipped",
        );
        assert_eq!(nextest(&said), Some(Tally::new(10, 2)));
        let stopped = lines("     Summary [   0.004s] 3/12 tests run: 2 passed, 1 failed, 0 skipped");
        assert_eq!(nextest(&stopped), Some(Tally::new(2, 1)));
        assert_eq!(nextest(&lines("error: could not compile")), None);
    }

    #[test]
    fn cargo_tests_summaries_add_up() {
        let said = "test result: ok. 5 passed; 0 failed; 0 ignored\ntest result: FAILED. 1 passed; 2 failed; 0 ignored";
        assert_eq!(cargo_test(&lines(said)), Some(Tally::new(6, 2)));
        let named =
            cargo_test(&lines("test queue::is_full ... FAILED\ntest result: FAILED. 0 passed; 1 failed"));
        assert_eq!(named.expect("a result").reasons, ["test queue::is_full ... FAILED"]);
        assert_eq!(cargo_test(&[]), None);
    }

    #[test]
    fn the_labs_last_line_is_read() {
        assert_eq!(lab(&lines("x\nlab: 7 passed, 1 failed\n{}")), Some(Tally::new(7, 1)));
        let counted = lab(&lines("lab: 7 passed, 1 failed, 2 skipped, failed: paced")).expect("a last line");
        assert_eq!(counted.counts(), ": 7 passed, 1 failed, 2 skipped, failed: paced");
        assert_eq!(lab(&lines("lab: starting")), None);
        let failed =
            lab(&lines("lab: failed paced: 3 drops, expected 0\nlab: 0 passed, 1 failed, failed: paced"));
        assert_eq!(failed.expect("a last line").reasons, ["paced: 3 drops, expected 0"]);
    }

    #[test]
    fn a_failure_nobody_counted_counts() {
        assert_eq!(Tally::default().or_failure(false), Tally::FAILURE);
        assert_eq!(Tally::of(true).or_failure(true), Tally::of(true));
    }
}
