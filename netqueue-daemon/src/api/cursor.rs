//! Position in the sequence of events, as clients store it: the run of the daemon and the number of an
//! event.

use std::fmt;

use netqueue_domain::{Snapshot, Timestamp};

/// Position at which a page or a stream continues.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Cursor {
    /// Time when the daemon that issued the number attached, in milliseconds since the epoch.
    pub(super) run: u64,
    /// Sequence number of an event.
    pub(super) seq: u64,
}

/// Description of the format, for error messages and the OpenAPI document.
pub(super) const EXPECTED: &str =
    "a cursor or an event's id as an earlier answer gave it, such as 19a9e5f3c21-1207";
/// Pattern of the format, for the OpenAPI document.
pub(super) const PATTERN: &str = "^[0-9a-f]{1,12}-[0-9]{1,19}$";

impl Cursor {
    pub(super) fn at(snapshot: &Snapshot, seq: u64) -> Self {
        let earlier = snapshot.events.earlier().run_of(seq);
        Self { run: earlier.map_or(snapshot.attached, |run| run.attached).as_nanos() / 1_000_000, seq }
    }

    pub(super) fn parse(text: &str) -> Option<Self> {
        let (run, seq) = text.split_once('-')?;
        let plain = |text: &str| !text.starts_with('+') && !text.is_empty();
        let parsed = || Some(Self { run: u64::from_str_radix(run, 16).ok()?, seq: seq.parse().ok()? });
        (plain(run) && plain(seq)).then(parsed).flatten()
    }

    /// Maps this cursor to the numbering of the current run.
    pub(super) fn place(self, snapshot: &Snapshot) -> CursorPosition {
        let is = |attached: Timestamp| attached.as_nanos() / 1_000_000 == self.run;
        let events = &snapshot.events;
        if is(snapshot.attached) && (self.seq == 0 || self.seq > events.before_this_run()) {
            return CursorPosition::Here(self.seq.max(events.before_this_run()));
        }
        match events.earlier().runs().iter().rev().find(|run| is(run.attached)) {
            Some(run) => CursorPosition::Earlier(self.seq.min(run.last)),
            None if is(snapshot.attached) => CursorPosition::Here(self.seq),
            None => CursorPosition::Unknown,
        }
    }
}

/// Position in the sequence of events, in the numbering of the current run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum CursorPosition {
    /// Sequence number of the current run.
    Here(u64),
    /// Sequence number of an earlier run whose event log the current run continues.
    /// At most the last number recorded of that run: one that was killed may have issued higher ones.
    Earlier(u64),
    /// Position in a run of which nothing is recorded.
    Unknown,
}

impl fmt::Display for Cursor {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:x}-{}", self.run, self.seq)
    }
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
