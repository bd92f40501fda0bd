//! Entry of the log: an event, its number, and the names of process and namespace at that time.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use netqueue_domain::{Event, Named, Timestamp, WallClock};

/// Event as written to the log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogEntry {
    /// Sequence number of the event.
    pub seq: u64,
    /// Process that owned the listener.
    pub process: Arc<str>,
    /// Name of the network namespace.
    pub netns: Arc<str>,
    /// Event. Its time is wall clock time, because another run counts from another anchor.
    pub event: Event,
}

impl LogEntry {
    /// Makes an entry with the present names and the wall clock as it is set.
    #[must_use]
    pub fn new(seq: u64, named: Named, event: Event, clock: WallClock) -> Self {
        let Named { process, netns } = named;
        let time = Timestamp::from_nanos(clock.show(event.time).as_nanos());
        Self { seq, process, netns, event: Event { time, ..event } }
    }

    /// Returns the names recorded in the entry.
    pub(super) fn named(&self) -> Named {
        Named { process: Arc::clone(&self.process), netns: Arc::clone(&self.netns) }
    }
}
