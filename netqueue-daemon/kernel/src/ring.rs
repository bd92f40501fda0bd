//! Reads events from the ring buffer.

use std::{
    io,
    os::fd::{AsFd, OwnedFd},
};

use aya::maps::{MapData, RingBuf};
use netqueue_domain::{Event, Timestamp};
use tokio::io::unix::AsyncFd;

use super::{decode, layout::ResetReasons};

/// The reading end of the ring buffer.
pub struct Ring {
    events: RingBuf<MapData>,
    reasons: ResetReasons,
}

/// Result of one reading of the ring.
#[derive(Debug, Default)]
pub struct Drained {
    /// The events, oldest first.
    pub events: Vec<Event>,
    /// Number of records that contain no event: a defect of netqueue.
    pub undecodable: u64,
    /// True if the ring contained more than was taken.
    pub more: bool,
}

impl Ring {
    pub(super) const fn new(events: RingBuf<MapData>, reasons: ResetReasons) -> Self {
        Self { events, reasons }
    }

    /// Returns a descriptor that becomes ready when the kernel side wakes the reader.
    ///
    /// # Errors
    /// The descriptor cannot be watched.
    pub fn wakeups(&self) -> io::Result<AsyncFd<OwnedFd>> {
        let descriptor = self.events.as_fd().try_clone_to_owned()?;
        // SAFETY: the `AsyncFd` owns the descriptor, which is neither replaced nor closed meanwhile.
        Ok(unsafe { AsyncFd::register(descriptor) }?)
    }

    /// Takes up to `most` records.
    ///
    /// `epoch` is the wall-clock time at which CLOCK_MONOTONIC, which stamps the records, was zero.
    pub fn drain(&mut self, most: usize, epoch: Timestamp) -> Drained {
        let mut drained = Drained::default();
        for taken in 0.. {
            if taken == most {
                drained.more = true;
                break;
            }
            let Some(record) = self.events.next() else { break };
            match decode::event(&record, &self.reasons, epoch) {
                Some(event) => drained.events.push(event),
                None => drained.undecodable += 1,
            }
        }
        drained
    }
}
