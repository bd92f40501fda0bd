//! Maximum length of a queue, since the last scrape and over a window of time.

use std::{collections::VecDeque, time::Duration};

use serde::{Deserialize, Serialize};

use super::Timestamp;

/// High-water marks of one queue.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Peaks {
    since_scrape: u32,
    /// Times and lengths, each shorter than the one before: the first is the longest of the window.
    falling: VecDeque<(Timestamp, u32)>,
}

impl Peaks {
    /// Duration of the window.
    pub const WINDOW: Duration = Duration::from_secs(60);

    /// Takes in a length that the queue had at `now`, or at some moment since the last reading.
    pub fn observe(&mut self, length: u32, now: Timestamp) {
        self.since_scrape = self.since_scrape.max(length);
        self.forget(now);
        while self.falling.back().is_some_and(|(_, shorter)| *shorter <= length) {
            self.falling.pop_back();
        }
        if length > 0 {
            self.falling.push_back((now, length));
        }
    }

    /// Returns the maximum since [`Self::scraped`] was last called.
    #[must_use]
    pub const fn since_scrape(&self) -> u32 {
        self.since_scrape
    }

    /// Returns the maximum in the window that ends at `now`.
    #[must_use]
    pub fn in_window(&self, now: Timestamp) -> u32 {
        let inside = |(seen, _): &&(Timestamp, u32)| now.since(*seen) <= Self::WINDOW;
        self.falling.iter().find(inside).map_or(0, |(_, length)| *length)
    }

    /// Restarts the maximum since the last scrape, which has just been reported.
    pub const fn scraped(&mut self) {
        self.since_scrape = 0;
    }

    fn forget(&mut self, now: Timestamp) {
        while self.falling.front().is_some_and(|(seen, _)| now.since(*seen) > Self::WINDOW) {
            self.falling.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn at(seconds: u64) -> Timestamp {
        Timestamp::from_nanos(seconds * 1_000_000_000)
    }

    #[test]
    fn a_spike_between_two_scrapes_is_told_once_and_stays_in_the_window() {
        let mut peaks = Peaks::default();
        peaks.observe(129, at(10));
        peaks.observe(0, at(11));
        assert_eq!((peaks.since_scrape(), peaks.in_window(at(11))), (129, 129));
        peaks.scraped();
        peaks.observe(3, at(12));
        assert_eq!((peaks.since_scrape(), peaks.in_window(at(12))), (3, 129));
        assert_eq!(peaks.in_window(at(71)), 3);
        assert_eq!(peaks.in_window(at(73)), 0);
    }

    #[test]
    fn a_queue_that_grows_for_an_hour_is_remembered_once() {
        let mut peaks = Peaks::default();
        (1..3600).for_each(|second| peaks.observe(second, at(u64::from(second))));
        assert_eq!(peaks.falling.len(), 1);
    }

    #[test]
    fn the_window_holds_no_more_than_its_seconds() {
        let mut peaks = Peaks::default();
        (1..3600).for_each(|second| peaks.observe(4000 - second, at(u64::from(second))));
        assert!(peaks.falling.len() <= 61, "{}", peaks.falling.len());
        assert_eq!(peaks.in_window(at(3600)), 4000 - 3540);
    }
}
