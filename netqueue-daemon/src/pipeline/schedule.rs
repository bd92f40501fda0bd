//! Schedule of searching and reading namespaces: bounded work, however many there are.

use std::{
    collections::{BTreeMap, HashMap},
    time::{Duration, Instant},
};

use netqueue_domain::{Netns, PerCounter};

use crate::inventory::Depth;

/// Counts attributed to each namespace.
pub(super) type Sums = BTreeMap<Netns, PerCounter<u64>>;

/// Largest number of namespaces read for one snapshot: about 10 ms.
const MOST: usize = 64;
/// Interval of reading namespaces without charges, and of regular searches.
const SLOWLY: Duration = Duration::from_secs(30);
/// One in this many regular searches examines threads.
const THOROUGH: u32 = 10;
/// Age from which a namespace without charges may be read before its time.
const SOON: Duration = Duration::from_secs(2);
/// Namespaces read before their time in a second: about 1 ms. On a host with few namespaces, what
/// moved beside netqueue's counters is thus known within seconds.
const SPARE: usize = 8;
/// Share of time, as a divisor, that urgent searches may take.
const SHARE: u32 = 20;
/// Limit of the time saved up for urgent searches.
const SAVED: Duration = Duration::from_millis(500);
/// Pause before the next search for a namespace that was not found; doubles with each failure.
const AGAIN: Duration = Duration::from_millis(100);

/// Namespaces that are due to be read.
#[derive(Debug, Default)]
pub(super) struct Due {
    last: HashMap<Netns, Last>,
    /// Time at which namespaces were last read before their time.
    spared: Option<Instant>,
}

#[derive(Debug)]
struct Last {
    read: Instant,
    sum: PerCounter<u64>,
}

impl Due {
    /// Returns the namespaces to read, at most [`MOST`].
    /// The host's comes first, then those charged since they were read, then those not read for long; within
    /// each group, those that have waited longest.
    pub(super) fn choose(
        &mut self,
        host: Netns,
        known: impl Iterator<Item = Netns>,
        sums: &Sums,
        now: Instant,
    ) -> Vec<Netns> {
        let spare =
            self.spared.is_none_or(|spared| now.saturating_duration_since(spared) >= Duration::from_secs(1));
        let mut due: Vec<_> = known
            .filter(|netns| *netns != host)
            .filter_map(|netns| {
                let Some(last) = self.last.get(&netns) else { return Some((1, None, netns)) };
                let charged = sums.get(&netns).copied().unwrap_or_default() != last.sum;
                let age = now.saturating_duration_since(last.read);
                let rank = match age {
                    _ if charged => 0,
                    age if age >= SLOWLY => 1,
                    age if age >= SOON && spare => 2,
                    _ => return None,
                };
                Some((rank, Some(last.read), netns))
            })
            .collect();
        due.sort_unstable();
        let on_time = due.partition_point(|(rank, _, _)| *rank < 2);
        if due.len() > on_time {
            self.spared = Some(now);
            due.truncate(on_time + SPARE);
        }
        std::iter::once(host).chain(due.into_iter().map(|(_, _, netns)| netns)).take(MOST).collect()
    }

    /// Records that a namespace was read while these counts were attributed to it.
    pub(super) fn read(&mut self, netns: Netns, sum: PerCounter<u64>, now: Instant) {
        self.last.insert(netns, Last { read: now, sum });
    }

    /// Drops a namespace that has ended.
    pub(super) fn forget(&mut self, netns: Netns) {
        self.last.remove(&netns);
    }
}

/// Schedule of searches for namespaces.
#[derive(Debug)]
pub(super) struct Searches {
    ended: Instant,
    took: Duration,
    /// Time that may be spent, as of the end of the last search.
    saved: Duration,
    regular: u32,
    next_regular: Instant,
    threads_wanted: bool,
    /// Charged namespaces that were not found: number of failures, and when to search again.
    vain: HashMap<Netns, (u32, Instant)>,
}

impl Searches {
    /// Starts after a search that has just ended and took that long.
    pub(super) fn new(took: Duration, now: Instant) -> Self {
        let next_regular = now + SLOWLY;
        Self {
            ended: now,
            took,
            saved: SAVED,
            regular: 0,
            next_regular,
            threads_wanted: false,
            vain: HashMap::new(),
        }
    }

    /// Requests a search of threads, because a known namespace may be gone.
    pub(super) const fn want_threads(&mut self) {
        self.threads_wanted = true;
    }

    /// Returns the thoroughness of a search to start now, given the charged namespaces not found yet.
    pub(super) fn due(&self, unknown: &[Netns], now: Instant) -> Option<Depth> {
        let waits = |netns: &Netns| self.vain.get(netns).is_some_and(|(_, until)| now < *until);
        let urgent = self.threads_wanted || !unknown.iter().all(waits);
        if urgent && self.saved(now) >= self.took {
            return Some(Depth::Threads);
        }
        (now >= self.next_regular).then_some(if (self.regular + 1).is_multiple_of(THOROUGH) {
            Depth::Threads
        } else {
            Depth::Processes
        })
    }

    /// Returns the time that may be spent now.
    fn saved(&self, now: Instant) -> Duration {
        // Even a search that takes longer than what can be saved must get its turn.
        (self.saved + now.saturating_duration_since(self.ended) / SHARE).min(SAVED.max(self.took))
    }

    /// Records the end of a search, and the namespaces, charged before it began, that it did not find.
    pub(super) fn ended(&mut self, depth: Depth, took: Duration, missed: &[Netns], now: Instant) {
        self.saved = self.saved(now).saturating_sub(took);
        (self.ended, self.took) = (now, took);
        if now >= self.next_regular {
            self.regular = self.regular.wrapping_add(1);
            self.next_regular = now + SLOWLY;
        }
        if depth == Depth::Processes {
            return;
        }
        self.threads_wanted = false;
        self.vain.retain(|netns, _| missed.contains(netns));
        for netns in missed {
            let (times, until) = self.vain.entry(*netns).or_insert((0, now));
            *until = now + (AGAIN * 2_u32.saturating_pow(*times)).min(SLOWLY);
            *times = (*times + 1).min(16);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOST: Netns = Netns::at_attach(1);
    const SECOND: Duration = Duration::from_secs(1);
    const SCAN: Duration = Duration::from_millis(30);

    fn sum(number: u64) -> PerCounter<u64> {
        PerCounter::from_fn(|_| number)
    }

    #[test]
    fn of_a_thousand_namespaces_those_with_drops_come_first_and_all_get_their_turn() {
        let (mut due, mut now) = (Due::default(), Instant::now());
        let known = || (1..=1000).map(Netns::at_attach);
        let quiet = Sums::new();
        let mut rounds = 0;
        loop {
            let chosen = due.choose(HOST, known(), &quiet, now);
            assert!(chosen.len() <= MOST && chosen[0] == HOST);
            if chosen.len() == 1 {
                break;
            }
            chosen.iter().for_each(|netns| due.read(*netns, sum(0), now));
            rounds += 1;
        }
        assert_eq!(rounds, 999_usize.div_ceil(MOST - 1));
        now += SECOND;
        let dropping = Sums::from([(Netns::at_attach(500), sum(3)), (Netns::at_attach(900), sum(1))]);
        assert_eq!(due.choose(HOST, known(), &dropping, now).len(), 3);
        now += SLOWLY;
        let chosen = due.choose(HOST, known(), &dropping, now);
        assert_eq!(chosen.len(), MOST);
        assert!(
            chosen[1..3].contains(&Netns::at_attach(500)) && chosen[1..3].contains(&Netns::at_attach(900))
        );
    }

    #[test]
    fn few_namespaces_are_read_every_few_seconds_and_of_many_only_some() {
        for (namespaces, oldest) in [(9, 4), (1000, 30)] {
            let (mut due, mut now) = (Due::default(), Instant::now());
            let known = || (1..=namespaces).map(Netns::at_attach);
            for netns in known() {
                due.read(netns, sum(0), now);
            }
            let mut most = 0;
            for _ in 0..600 {
                now += SECOND / 10;
                let chosen = due.choose(HOST, known(), &Sums::new(), now);
                if due.last.values().all(|last| now - last.read < SLOWLY) {
                    most = most.max(chosen.len() - 1);
                }
                chosen.iter().for_each(|netns| due.read(*netns, sum(0), now));
            }
            assert!(most <= SPARE, "{most}");
            let age = due.last.values().map(|last| now - last.read).max().expect("there are some");
            assert!(age <= oldest * SECOND, "{namespaces}: {age:?}");
        }
    }

    #[test]
    fn unknown_namespaces_are_looked_for_at_once_but_not_all_the_time() {
        let start = Instant::now();
        let mut now = start;
        let mut searches = Searches::new(SCAN, start);
        let mut begun = 0;
        while now < start + 20 * SECOND {
            // New ones all the time, each gone before it is found.
            if searches.due(&[Netns::at_attach(begun + 9)], now).is_some() {
                now += SCAN;
                searches.ended(Depth::Threads, SCAN, &[], now);
                begun += 1;
                assert!(begun != 15 || now < start + SECOND, "some at once");
            } else {
                now += Duration::from_millis(1);
            }
        }
        assert!((44..=52).contains(&begun), "{begun}");
    }

    #[test]
    fn without_a_reason_namespaces_are_looked_for_now_and_then() {
        let start = Instant::now();
        let searches = Searches::new(SCAN, start);
        assert_eq!(searches.due(&[], start + SECOND), None);
        assert_eq!(searches.due(&[], start + SLOWLY), Some(Depth::Processes));
    }

    #[test]
    fn what_was_looked_for_in_vain_is_looked_for_ever_more_rarely() {
        let mut now = Instant::now();
        let mut searches = Searches::new(Duration::ZERO, now);
        let mut times = 0;
        let end = now + 10 * SLOWLY;
        while now < end {
            if searches.due(&[Netns::at_attach(9)], now) == Some(Depth::Threads) {
                searches.ended(Depth::Threads, Duration::ZERO, &[Netns::at_attach(9)], now);
                times += 1;
            }
            now += AGAIN;
        }
        assert!((10..=25).contains(&times), "{times}");
        assert_eq!(
            searches.due(&[Netns::at_attach(9), Netns::at_attach(10)], now),
            Some(Depth::Threads),
            "a new one is urgent"
        );
    }

    #[test]
    fn threads_are_looked_at_now_and_then() {
        let mut now = Instant::now();
        let mut searches = Searches::new(SCAN, now);
        let depths: Vec<_> = (0..THOROUGH)
            .filter_map(|_| {
                now += SLOWLY;
                let depth = searches.due(&[], now)?;
                searches.ended(depth, SCAN, &[], now);
                Some(depth)
            })
            .collect();
        assert_eq!(depths.iter().filter(|depth| **depth == Depth::Threads).count(), 1);
        assert_eq!(depths.len(), THOROUGH as usize);
    }
}
