//! Accepts and waits of one listener: a stall, an earlier one, or clients that are only kept waiting.
//!
//! A gap between two accepts is a stall only if it is unusual for the listener: workers that take three
//! seconds for a request accept every three seconds, and have not stalled.

use std::{collections::VecDeque, time::Duration};

use super::counterfactual::QueueFlow;
use crate::{Sample, Timestamp};

/// Shortest gap between two accepts that can be a stall: samples are a second apart.
const SHORTEST_STALL: Duration = Duration::from_secs(2);
/// A gap is usual if two others in the window were at least this part of it.
const COMPARABLE: u32 = 3;
/// Period over which present rates are measured.
const RATES: Duration = Duration::from_secs(60);
/// Shortest period that gives a rate.
const SHORTEST_RATE: Duration = Duration::from_secs(5);

/// Time in which clients waited and none was accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stall {
    /// Moment from which on clients waited and none was accepted.
    pub since: Timestamp,
    /// Moment of the next accept, of the close, or the present.
    pub until: Timestamp,
    /// Maximum number of connections that waited.
    pub waiting: u32,
}

/// Connections that waited for accept() at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wait {
    /// Time that the first of them had waited; a lower bound if it came before the window.
    pub oldest: Duration,
    /// Number of connections that waited.
    pub connections: u32,
    /// The moment.
    pub at: Timestamp,
}

/// Accepts of one listener in the window.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Accepting {
    /// Stall that goes on at the end of the window.
    pub stalled: Option<Stall>,
    /// Longest stall that is over.
    pub longest_stall: Option<Stall>,
    /// Connections that wait at the end of the window.
    pub waits: Option<Wait>,
    /// Longest wait that was seen in the window.
    pub longest_wait: Option<Wait>,
    /// Connections through the queue while clients have been waiting, within the last minute.
    pub flow: Option<QueueFlow>,
}

impl Wait {
    /// Wait from which on clients suffer: most give up, or show an error, after some seconds.
    pub const LONG: Duration = Duration::from_secs(3);
}

impl Stall {
    /// Returns how long it lasted.
    #[must_use]
    pub const fn lasted(&self) -> Duration {
        self.until.since(self.since)
    }
}

impl Accepting {
    /// Returns what the samples show from `from` on. Nothing happens after `end`: the present, or the
    /// moment of the close, in which case nothing goes on.
    #[must_use]
    pub fn of(samples: &VecDeque<Sample>, (from, end): (Timestamp, Timestamp), closed: bool) -> Self {
        let there = samples.partition_point(|sample| sample.since <= end);
        let until = |sample: &Sample| sample.until.min(end);
        let (mut gaps, mut gap): (Vec<Stall>, Option<Stall>) = (Vec::new(), None);
        let mut longest_wait: Option<Wait> = None;
        let mut before: Option<&Sample> = None;
        for sample in samples.range(..there) {
            let accepted = before.is_some_and(|before| sample.accepted > before.accepted);
            if accepted || sample.waiting == 0 {
                // An accept ends the gap; a queue that is empty without one was emptied by its clients.
                gaps.extend(gap.take().map(|gap| Stall { until: sample.since, ..gap }));
            }
            if sample.waiting > 0 {
                let new = Stall { since: sample.since, until: until(sample), waiting: sample.waiting };
                let open = gap.unwrap_or(new);
                let waiting = open.waiting.max(sample.waiting);
                gap = Some(Stall { until: until(sample), waiting, ..open });
                let wait = wait(samples, sample, until(sample));
                let longer = longest_wait.is_none_or(|longest| wait.oldest > longest.oldest);
                if longer && wait.at >= from {
                    longest_wait = Some(wait);
                }
            }
            before = Some(sample);
        }
        let last = before.filter(|last| last.waiting > 0 && !closed);
        gaps.extend(gap.filter(|_| closed).map(|gap| Stall { until: end, ..gap }));
        let open = gap.filter(|_| last.is_some());
        let unusual = |stall: &Stall| {
            let other = |other: &&Stall| *other != stall && other.lasted() * COMPARABLE >= stall.lasted();
            stall.lasted() >= SHORTEST_STALL && gaps.iter().filter(other).count() < 2
        };
        Self {
            stalled: open.filter(unusual),
            longest_stall: gaps
                .iter()
                .filter(|stall| stall.until >= from && unusual(stall))
                .max_by_key(|stall| stall.lasted())
                .copied(),
            waits: last.map(|last| wait(samples, last, until(last))),
            longest_wait,
            flow: last.and_then(|last| flow(samples, last)),
        }
    }

    /// Returns whether anybody waited long enough to notice.
    #[must_use]
    pub fn is_notable(&self) -> bool {
        let waited = self.longest_wait.is_some_and(|wait| wait.oldest >= SHORTEST_STALL);
        waited || self.stalled.or(self.longest_stall).is_some()
    }
}

/// Returns the wait of the first connection in the queue.
///
/// Accept queues are first in, first out: it entered when so many had entered as have left by now.
fn wait(samples: &VecDeque<Sample>, sample: &Sample, at: Timestamp) -> Wait {
    let left = sample.entered.saturating_sub(u64::from(sample.waiting));
    let index = samples.partition_point(|earlier| earlier.entered <= left);
    let entered = samples.get(index).map_or(sample.since, |entered| entered.since.min(at));
    Wait { oldest: at.since(entered), connections: sample.waiting, at }
}

/// Returns the connections of the last minute through the queue, while clients have been waiting.
fn flow(samples: &VecDeque<Sample>, last: &Sample) -> Option<QueueFlow> {
    let start = last.until.before(RATES);
    let recent = samples.iter().rev().take_while(|sample| sample.waiting > 0 && sample.until >= start);
    let first = recent.last()?;
    let span = last.until.since(first.since.max(start));
    (span >= SHORTEST_RATE).then(|| QueueFlow {
        span,
        entered: last.entered.saturating_sub(first.entered),
        accepted: last.accepted.saturating_sub(first.accepted),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn at(tenths: u64) -> Timestamp {
        Timestamp::from_nanos(tenths * 100_000_000)
    }

    /// Samples a queue once a second: clients enter and leave at these tenths of a second.
    fn samples(enter: &[u64], leave: &[u64], end: u64) -> VecDeque<Sample> {
        let by = |times: &[u64], now| times.iter().filter(|time| **time <= now).count() as u64;
        let mut samples: VecDeque<Sample> = VecDeque::new();
        for now in (0..=end).step_by(10) {
            let (entered, accepted) = (by(enter, now), by(leave, now));
            let waiting = u32::try_from(entered - accepted).expect("few");
            match samples.back_mut() {
                Some(last) if (last.entered, last.accepted) == (entered, accepted) => last.until = at(now),
                Some(_) | None => samples.push_back(Sample {
                    since: at(now),
                    until: at(now),
                    drops: 0,
                    entered,
                    accepted,
                    waiting,
                }),
            }
        }
        samples
    }

    fn of(enter: &[u64], leave: &[u64], end: u64) -> Accepting {
        Accepting::of(&samples(enter, leave, end), (at(0), at(end)), false)
    }

    #[test]
    fn nobody_accepts_while_clients_wait_and_the_first_has_waited_longest() {
        let enter: Vec<u64> = (0..70).map(|n| 20 + 2 * n).collect();
        let accepting = of(&enter, &[], 500);
        let stall = accepting.stalled.expect("it goes on");
        assert_eq!((stall.lasted(), stall.waiting), (Duration::from_secs(48), 70));
        let waits = accepting.waits.expect("they wait");
        assert_eq!((waits.oldest, waits.connections), (Duration::from_secs(48), 70));
        assert_eq!(accepting.longest_stall, None);
    }

    #[test]
    fn a_stall_that_is_over_does_not_go_on_and_does_not_grow() {
        let enter: Vec<u64> = (0..10).map(|n| 20 + n).collect();
        let leave: Vec<u64> = (0..10).map(|n| 220 + n).collect();
        let over = of(&enter, &leave, 600);
        assert_eq!((over.stalled, over.waits), (None, None));
        let stall = over.longest_stall.expect("it was");
        assert_eq!((stall.since, stall.until), (at(20), at(220)));
        assert_eq!(over, of(&enter, &leave, 3000));
    }

    #[test]
    fn workers_that_take_three_seconds_for_a_request_have_not_stalled() {
        let enter: Vec<u64> = (0..60).map(|n| 10 + n * 10 / 3).collect();
        let leave: Vec<u64> = (0..18).map(|n| 40 + n / 3 * 30).collect();
        let busy = of(&enter, &leave, 195);
        assert_eq!((busy.stalled, busy.longest_stall), (None, None), "{busy:?}");
        let flow = busy.flow.expect("clients wait");
        assert!(flow.entered > 2 * flow.accepted, "{flow:?}");
        let stopped = of(&enter, &leave, 600);
        assert!(
            stopped.stalled.is_some_and(|stall| stall.lasted() >= Duration::from_secs(40)),
            "{stopped:?}"
        );
    }

    #[test]
    fn a_closed_listener_ended_its_stall() {
        let samples = samples(&[20, 21, 22], &[], 960);
        let closed = Accepting::of(&samples, (at(0), at(100)), true);
        assert_eq!((closed.stalled, closed.waits), (None, None));
        assert_eq!(closed.longest_stall.map(|stall| stall.until), Some(at(100)));
    }

    #[test]
    fn a_queue_that_is_never_empty_but_moves_keeps_nobody_waiting() {
        let enter: Vec<u64> = (0..600).collect();
        let leave: Vec<u64> = (2..600).collect();
        let quick = of(&enter, &leave, 590);
        assert!(!quick.is_notable(), "{quick:?}");
    }
}
