//! One line of the log: an event, its number, and how those it concerns were called.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use netqueue_domain::{Event, Named, Timestamp, WallClock};

/// An event as it is written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Line {
    /// Its number.
    pub seq: u64,
    /// The process that held the listener.
    pub process: Arc<str>,
    /// What its namespace was called.
    pub netns: Arc<str>,
    /// What happened. Its time is what the wall clock showed: another run of the daemon counts from another moment.
    pub event: Event,
}

impl Line {
    /// An event, the names of now, and the wall clock as it is set.
    #[must_use]
    pub fn new(seq: u64, named: Named, event: Event, clock: WallClock) -> Self {
        let Named { process, netns } = named;
        let time = Timestamp::from_nanos(clock.show(event.time).as_nanos());
        Self { seq, process, netns, event: Event { time, ..event } }
    }

    /// The names of then.
    pub(super) fn named(&self) -> Named {
        Named { process: Arc::clone(&self.process), netns: Arc::clone(&self.netns) }
    }
}
