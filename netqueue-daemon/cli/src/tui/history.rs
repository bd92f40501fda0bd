//! Recent samples of each account: rates and sparklines from totals.

use std::{
    collections::{HashMap, VecDeque},
    time::{Duration, Instant},
};

use netqueue_api::Listener;

/// Time span over which the current rate is averaged.
const NOW: Duration = Duration::from_secs(10);
/// Samples retained per account: more than a sparkline is wide.
const SAMPLES: usize = 240;

#[derive(Clone, Copy, Debug)]
struct Sample {
    at: Instant,
    drops: u64,
    resets: u64,
}

/// The samples of every account.
#[derive(Clone, Debug, Default)]
pub(super) struct History {
    by_id: HashMap<String, VecDeque<Sample>>,
    started: bool,
}

impl History {
    /// Adds the totals sampled at `at`, and forgets accounts that no longer exist.
    pub(super) fn take(&mut self, at: Instant, listeners: &[Listener]) {
        for listener in listeners {
            let samples = self.by_id.entry(listener.id.clone()).or_default();
            if samples.is_empty() && self.started {
                // An account that appears after the first sample began at zero.
                samples.push_back(Sample {
                    at: at.checked_sub(Duration::from_secs(1)).unwrap_or(at),
                    drops: 0,
                    resets: 0,
                });
            }
            samples.push_back(Sample { at, drops: listener.drops.total, resets: listener.resets.total });
            if samples.len() > SAMPLES {
                samples.pop_front();
            }
        }
        if self.by_id.len() > listeners.len() {
            self.by_id.retain(|id, _| listeners.iter().any(|listener| listener.id == *id));
        }
        self.started = true;
    }

    /// Current drops per second.
    pub(super) fn drop_rate(&self, id: &str) -> f64 {
        self.rate(id, |sample| sample.drops)
    }

    /// Current resets per second.
    pub(super) fn reset_rate(&self, id: &str) -> f64 {
        self.rate(id, |sample| sample.resets)
    }

    /// The drops between consecutive samples, newest last; at most `length` of them.
    pub(super) fn drops(&self, id: &str, length: usize) -> Vec<u64> {
        let Some(samples) = self.by_id.get(id) else { return Vec::new() };
        let steps = samples.iter().zip(samples.iter().skip(1));
        let steps = steps.map(|(before, now)| now.drops.saturating_sub(before.drops));
        let all: Vec<_> = steps.collect();
        all.iter().skip(all.len().saturating_sub(length)).copied().collect()
    }

    fn rate(&self, id: &str, of: impl Fn(&Sample) -> u64) -> f64 {
        let Some(samples) = self.by_id.get(id) else { return 0.0 };
        let Some(last) = samples.back() else { return 0.0 };
        let first = samples.iter().find(|sample| last.at.duration_since(sample.at) <= NOW).unwrap_or(last);
        let seconds = last.at.duration_since(first.at).as_secs_f64();
        if seconds > 0.0 { of(last).saturating_sub(of(first)) as f64 / seconds } else { 0.0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listener(id: &str, drops: u64) -> Listener {
        serde_json::from_value(serde_json::json!({
            "id": id, "kind": "listener", "netns": "host", "addr": "0.0.0.0", "port": 80,
            "drops": {"total": drops, "by_cause": []}, "resets": {"total": 0, "by_cause": []},
        }))
        .expect("a listener")
    }

    #[test]
    fn a_rate_is_of_the_last_seconds_and_a_new_listener_began_at_zero() {
        let begin = Instant::now();
        let at = |seconds| begin + Duration::from_secs(seconds);
        let mut history = History::default();
        for second in 0..=60 {
            history.take(at(second), &[listener("1", 1000 + 5 * second)]);
        }
        assert!((history.drop_rate("1") - 5.0).abs() < 1e-9);
        assert_eq!(history.drops("1", 3), [5, 5, 5]);
        assert!(history.drop_rate("2").abs() < 1e-9);
        history.take(at(61), &[listener("1", 1300), listener("2", 7)]);
        assert_eq!(history.drops("2", 9), [7]);
        history.take(at(62), &[listener("2", 7)]);
        assert!(history.drops("1", 9).is_empty());
    }

    #[test]
    fn a_daemon_that_began_anew_is_no_flood() {
        let begin = Instant::now();
        let mut history = History::default();
        history.take(begin, &[listener("1", 900)]);
        history.take(begin + Duration::from_secs(1), &[listener("1", 2)]);
        assert_eq!(history.drops("1", 9), [0]);
        assert!(history.drop_rate("1").abs() < 1e-9);
    }
}
