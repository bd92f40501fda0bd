//! One line of the log: an event, its number, and how those it concerns were called.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::domain::{Event, Named};

/// An event as it is written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Line {
    /// Its number.
    pub seq: u64,
    /// The process that held the listener.
    pub process: Arc<str>,
    /// What its namespace was called.
    pub netns: Arc<str>,
    /// What happened.
    pub event: Event,
}

impl Line {
    /// An event and the names of now.
    #[must_use]
    pub fn new(seq: u64, named: Named, event: Event) -> Self {
        let Named { process, netns } = named;
        Self { seq, process, netns, event }
    }

    /// The names of then.
    pub(super) fn named(&self) -> Named {
        Named { process: Arc::clone(&self.process), netns: Arc::clone(&self.netns) }
    }
}
