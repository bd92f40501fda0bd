//! The console protocol: a prefix that names the source of a line, and the one line with the verdict.

/// Begins every line of PID 1 itself.
pub const INIT: &str = "init| ";
/// Begins every stdout line of a job's program.
pub const JOB: &str = "job| ";
/// Begins every stderr line of a job's program.
pub const JOB_ERR: &str = "err| ";
/// Begins every line of the daemon, stdout and stderr alike.
pub const DAEMON: &str = "daemon| ";
/// Begins a piece of a file: its path, a blank, and Base64.
pub const FILE: &str = "file| ";
/// Begins the verdict line, followed by `pass` or `fail REASON`.
pub const VERDICT: &str = "NETQUEUE-VERDICT: ";

/// A console line by its source.
#[derive(Debug, PartialEq, Eq)]
pub enum Said<'a> {
    /// Line of PID 1, without the prefix.
    Init(&'a str),
    /// Stdout line of a program of the job, without the prefix.
    Job(&'a str),
    /// Piece of the file with this path, in Base64.
    File(&'a str, &'a str),
    /// The verdict, or the reason of a failure.
    Verdict(Result<(), String>),
    /// Any other line: of the firmware, the kernel, the daemon, or stderr of a program of the job.
    Other(&'a str),
}

/// Parses one console line.
#[must_use]
pub fn read(line: &str) -> Said<'_> {
    if let Some(rest) = line.strip_prefix(INIT) {
        return Said::Init(rest);
    }
    if let Some(rest) = line.strip_prefix(JOB) {
        return Said::Job(rest);
    }
    if let Some((path, piece)) = line.strip_prefix(FILE).and_then(|rest| rest.split_once(' ')) {
        return Said::File(path, piece.trim_end());
    }
    match line.strip_prefix(VERDICT).map(str::trim_end) {
        Some("pass") => Said::Verdict(Ok(())),
        Some(other) => Said::Verdict(Err(other.strip_prefix("fail ").unwrap_or(other).to_owned())),
        None => Said::Other(line),
    }
}

/// Returns whether a program wrote the line, rather than the kernel or PID 1.
#[must_use]
pub fn is_output(line: &str) -> bool {
    [JOB, JOB_ERR, DAEMON, FILE].iter().any(|prefix| line.starts_with(prefix))
}

/// Returns the verdict line for an outcome, with the reason on one line.
#[must_use]
pub fn verdict(outcome: &Result<(), String>) -> String {
    match outcome {
        Ok(()) => format!("{VERDICT}pass"),
        Err(reason) => format!("{VERDICT}fail {}", reason.split_whitespace().collect::<Vec<_>>().join(" ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_verdict_reads_back_as_it_was_given() {
        assert_eq!(read(&verdict(&Ok(()))), Said::Verdict(Ok(())));
        let failed = Err("doctor\nsaid no".to_owned());
        assert_eq!(read(&verdict(&failed)), Said::Verdict(Err("doctor said no".to_owned())));
    }

    #[test]
    fn a_verdict_inside_a_programs_output_is_only_output() {
        assert_eq!(read("job| NETQUEUE-VERDICT: pass"), Said::Job("NETQUEUE-VERDICT: pass"));
        assert!(is_output("daemon| Oops: nothing"));
    }
}
