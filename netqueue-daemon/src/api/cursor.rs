//! A place in the sequence of events, as clients keep it: the run of the daemon and the number of an event.

use std::fmt;

use netqueue_domain::{Snapshot, Timestamp};

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
        let earlier = snapshot.events.earlier().run_of(seq);
        Self { run: earlier.map_or(snapshot.attached, |run| run.attached).as_nanos() / 1_000_000, seq }
    }

    pub(super) fn parse(text: &str) -> Option<Self> {
        let (run, seq) = text.split_once('-')?;
        let plain = |text: &str| !text.starts_with('+') && !text.is_empty();
        let parsed = || Some(Self { run: u64::from_str_radix(run, 16).ok()?, seq: seq.parse().ok()? });
        (plain(run) && plain(seq)).then(parsed).flatten()
    }

    /// Where that is for this run.
    pub(super) fn place(self, snapshot: &Snapshot) -> Place {
        let is = |attached: Timestamp| attached.as_nanos() / 1_000_000 == self.run;
        let events = &snapshot.events;
        if is(snapshot.attached) && (self.seq == 0 || self.seq > events.before_this_run()) {
            return Place::Here(self.seq.max(events.before_this_run()));
        }
        match events.earlier().runs().iter().rev().find(|run| is(run.attached)) {
            Some(run) => Place::Earlier(self.seq.min(run.last)),
            None if is(snapshot.attached) => Place::Here(self.seq),
            None => Place::Unknown,
        }
    }
}

/// A place in the sequence, as this run of the daemon numbers events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// A number of this run.
    Here(u64),
    /// A number of an earlier run whose log this one goes on with: the last one that is known of it, where it went further.
    Earlier(u64),
    /// Of a run nothing is known of.
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
