//! A place in the sequence of events, as clients keep it: the run of the daemon and the number of an event.

use std::fmt;

use crate::domain::Snapshot;

/// Where a page or a stream goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Cursor {
    /// When the daemon that gave the number attached, in milliseconds since the epoch.
    pub(super) run: u64,
    /// The number of an event.
    pub(super) seq: u64,
}

/// What is accepted, for messages and the document.
pub(super) const EXPECTED: &str =
    "a cursor or an event's id as an earlier answer gave it, such as 19a9e5f3c21-1207";
/// The same as a pattern.
pub(super) const PATTERN: &str = "^[0-9a-f]{1,12}-[0-9]{1,19}$";

impl Cursor {
    pub(super) fn at(snapshot: &Snapshot, seq: u64) -> Self {
        Self { run: run(snapshot), seq }
    }

    pub(super) fn parse(text: &str) -> Option<Self> {
        let (run, seq) = text.split_once('-')?;
        let plain = |text: &str| !text.starts_with('+') && !text.is_empty();
        let parsed = || Some(Self { run: u64::from_str_radix(run, 16).ok()?, seq: seq.parse().ok()? });
        (plain(run) && plain(seq)).then(parsed).flatten()
    }

    /// The number, if it is one of this run's.
    pub(super) fn of_this_run(self, snapshot: &Snapshot) -> Option<u64> {
        (self.run == run(snapshot)).then_some(self.seq)
    }
}

impl fmt::Display for Cursor {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:x}-{}", self.run, self.seq)
    }
}

const fn run(snapshot: &Snapshot) -> u64 {
    snapshot.attached.as_nanos() / 1_000_000
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_reads_back_as_it_was_written_and_nothing_else_is_one() {
        let cursor = Cursor { run: 1_790_000_000_000, seq: 1207 };
        assert_eq!(Cursor::parse(&cursor.to_string()), Some(cursor));
        for text in ["", "-", "1207", "x-1", "1-", "+1-1", "1-+1", "1-1-1"] {
            assert_eq!(Cursor::parse(text), None, "{text}");
        }
    }
}
