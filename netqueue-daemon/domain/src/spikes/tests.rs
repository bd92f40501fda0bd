//! Tests with incidents that a detector must report, and ordinary days on which it must be silent.

use std::net::Ipv4Addr;

use proptest::prelude::*;

use super::*;
use crate::{Counts, DropKind, Endpoint, Event, KernelCounter, Peer, Queues, SocketId, What};

const HOST: Netns = Netns::at_attach(7);
const SECOND: u64 = 1_000_000_000;

fn web() -> AccountKey {
    let at = Endpoint { netns: HOST, addr: Ipv4Addr::UNSPECIFIED.into(), port: 80 };
    AccountKey::Listener { socket: SocketId(1), at }
}

fn at(seconds: f64) -> Timestamp {
    Timestamp::from_nanos(1_000 * SECOND + (seconds * SECOND as f64) as u64)
}

fn drops(number: u64) -> Counts {
    Counts::from_fn(|kind| if kind == DropKind::AcceptQueueFullSyn { number } else { 0 }, |_| 0, |_| 0)
}

fn detector() -> SpikeDetector {
    SpikeDetector::new(Sensitivity::default())
}

/// Reads `counted(second)` at each of these seconds.
fn watch(
    detector: &mut SpikeDetector,
    seconds: impl IntoIterator<Item = u64>,
    mut counted: impl FnMut(u64) -> u64,
) -> Vec<SpikeNotice> {
    let tick = |second| detector.tick([(&web(), &drops(counted(second)))], at(second as f64));
    seconds.into_iter().flat_map(tick).collect()
}

fn dropped(seconds: f64, port: u16) -> Event {
    Event {
        time: at(seconds),
        account: web(),
        local_port: 80,
        peer: Some(Peer { addr: Ipv4Addr::new(10, 0, 0, (port % 3) as u8).into(), port }),
        what: What::Drop(DropKind::AcceptQueueFullSyn),
        kernel_reason: None,
        queues: Queues::default(),
        cpu: 0,
        age: None,
    }
}

fn of_listener(notices: Vec<SpikeNotice>) -> Vec<SpikeNotice> {
    notices.into_iter().filter(|notice| matches!(notice.spike().scope, SpikeScope::Account(..))).collect()
}

#[test]
fn a_burst_is_told_at_the_first_reading_after_it_and_with_its_story_when_it_is_over() {
    let mut detector = detector();
    assert_eq!(watch(&mut detector, 0..30, |_| 0), []);
    (0..90).for_each(|n| detector.observe(&dropped(29.5 + f64::from(n) / 1000.0, n)));
    let notices = of_listener(watch(&mut detector, [30], |_| 90));
    let [SpikeNotice::Started(began)] = notices.as_slice() else { panic!("{notices:?}") };
    assert_eq!((began.scope, began.id), (SpikeScope::Account(web(), DropCause::AcceptQueueFull), 1));
    assert_eq!((began.started, began.detected), (at(29.5), at(30.0)));
    assert_eq!((began.drops, began.peak_per_second), (90, 90));
    assert_eq!(began.peers, PeerCount { addresses: 3, connections: 90, at_least: false });

    // The same clients again, after 1 s and after 3 s.
    for retry in [30.5, 32.5] {
        (0..90).for_each(|n| detector.observe(&dropped(retry, n)));
    }
    let notices = watch(&mut detector, 31..90, |second| if second < 33 { 180 } else { 270 });
    let notices = of_listener(notices);
    let [SpikeNotice::Ended(ended)] = notices.as_slice() else { panic!("{notices:?}") };
    assert_eq!((ended.drops, ended.peak_per_second, ended.last_drop), (270, 90, at(33.0)));
    assert_eq!(ended.peers, PeerCount { addresses: 3, connections: 90, at_least: false });
    assert!(ended.ended.is_some_and(|end| end <= at(60.0)), "{ended:?}");
    assert_eq!(detector.spikes().len(), 2, "the namespace had one too");
}

#[test]
fn a_listener_that_never_dropped_before_is_watched_since_netqueue_began() {
    let mut detector = detector();
    let none: [(&AccountKey, &Counts); 0] = [];
    for second in 0..20 {
        assert_eq!(detector.tick(none, at(f64::from(second))), []);
    }
    // Read half a second after its first drop.
    let notices = of_listener(detector.tick([(&web(), &drops(40))], at(19.5)));
    let [SpikeNotice::Started(began)] = notices.as_slice() else { panic!("{notices:?}") };
    assert!(began.detected.since(began.started) <= Duration::from_secs(2));
}

#[test]
fn a_daemon_started_in_the_middle_of_it_learns_it_as_ordinary() {
    // 300 drops each second, before and after.
    let notices = watch(&mut detector(), 0..600, |second| 1_000_000 + 300 * second);
    assert_eq!(notices, []);
}

#[test]
fn what_was_dropped_while_nobody_looked_tells_no_rate() {
    let mut detector = detector();
    watch(&mut detector, 0..60, |_| 5);
    // The machine slept; 500 drops over an hour.
    assert_eq!(watch(&mut detector, 3660..3700, |_| 505), []);
    // Afterwards, spikes are detected as before.
    assert_eq!(of_listener(watch(&mut detector, 3700..3702, |_| 605)).len(), 1);
}

#[test]
fn a_flood_absorbed_by_cookies_is_none() {
    let mut detector = detector();
    for second in 0..60 {
        let cookies = |counter| match counter {
            KernelCounter::SyncookiesSent | KernelCounter::ReqQFullDoCookies => second * 1000,
            KernelCounter::ListenOverflows
            | KernelCounter::ListenDrops
            | KernelCounter::ReqQFullDrop
            | KernelCounter::SyncookiesRecv
            | KernelCounter::SyncookiesFailed
            | KernelCounter::EmbryonicRsts
            | KernelCounter::OutRsts => 0,
        };
        let counts = Counts::from_fn(|_| 0, |_| 0, cookies);
        assert_eq!(detector.tick([(&web(), &counts)], at(second as f64)), []);
    }
}

#[test]
fn the_pause_between_two_tries_of_a_client_does_not_end_it() {
    let mut detector = detector();
    watch(&mut detector, 0..30, |_| 0);
    // SYNs after 0, 1, 3, 7 and 15 s.
    let tries = [30, 31, 33, 37, 45];
    let counted = |second| tries.iter().filter(|at| **at <= second).count() as u64 * 50;
    let notices = of_listener(watch(&mut detector, 30..120, counted));
    let kinds: Vec<_> = notices.iter().map(|notice| notice.spike().ended.is_some()).collect();
    assert_eq!(kinds, [false, true], "{notices:?}");
    assert_eq!(notices[1].spike().last_drop, at(45.0));
}

#[test]
fn a_listener_gone_in_the_middle_of_it_ends_it() {
    let mut detector = detector();
    watch(&mut detector, 0..30, |_| 0);
    assert_eq!(watch(&mut detector, [30], |_| 90).len(), 2);
    let none: [(&AccountKey, &Counts); 0] = [];
    let ended: Vec<_> = (31..50).flat_map(|second| detector.tick(none, at(f64::from(second)))).collect();
    assert!(ended.iter().all(|notice| !notice.spike().is_active()) && ended.len() == 2, "{ended:?}");
}

#[test]
fn readings_four_times_a_second_tell_the_same_start() {
    let mut detector = detector();
    let mut notices = Vec::new();
    for quarter in 0..200_u32 {
        let seconds = f64::from(quarter) / 4.0;
        let counted = if seconds >= 30.0 { ((seconds - 30.0) * 40.0) as u64 } else { 0 };
        notices.extend(detector.tick([(&web(), &drops(counted))], at(seconds)));
    }
    let began = of_listener(notices)[0].spike().clone();
    assert!(began.detected.since(at(30.0)) <= Duration::from_secs(1), "{began:?}");
}

/// Random numbers (splitmix64), implemented here so that a day is the same day each time.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// Returns a Poisson distributed number, by Knuth's product of uniforms.
    fn poisson(&mut self, mean: f64) -> u64 {
        let (limit, mut product, mut number) = ((-mean).exp(), self.unit(), 0);
        while product > limit {
            product *= self.unit();
            number += 1;
        }
        number
    }
}

/// Simulates one day of a listener that loses a client now and then. Arrivals follow a daily wave, and
/// each lost client is dropped one to four times.
fn ordinary_day(seed: u64, clients_per_second: f64) -> Vec<SpikeNotice> {
    const DAY: u64 = 86_400;
    let mut random = Random(seed);
    let (mut detector, mut later, mut sum) = (detector(), [0_u64; 16], 0);
    let mut counted = |second: u64| {
        let wave = 1.0 + 0.8 * (second as f64 / DAY as f64 * std::f64::consts::TAU).sin();
        for _ in 0..random.poisson(clients_per_second * wave) {
            // The client's SYN, and its repetitions after 1, 3 and 7 s, as far as there are any.
            for delay in [0, 1, 3, 7].into_iter().take(1 + (random.next() % 4) as usize) {
                later[(second as usize + delay) % 16] += 1;
            }
        }
        sum += std::mem::take(&mut later[second as usize % 16]);
        sum
    };
    watch(&mut detector, 0..DAY, &mut counted)
}

#[test]
fn a_day_of_ordinary_noise_starts_nothing() {
    for (seed, rate) in [(1, 0.001), (2, 0.02), (3, 0.1), (4, 0.3), (5, 1.0), (6, 3.0), (7, 10.0), (8, 40.0)]
    {
        assert_eq!(ordinary_day(seed, rate), [], "{rate} clients per second");
    }
}

#[test]
fn a_burst_at_the_end_of_a_noisy_day_is_seen_within_two_seconds() {
    let mut random = Random(9);
    let (mut detector, mut sum) = (detector(), 0);
    let quiet = watch(&mut detector, 0..7200, |_| {
        sum += random.poisson(2.0);
        sum
    });
    assert_eq!(quiet, []);
    let notices = of_listener(watch(&mut detector, 7200..7202, |_| sum + 200));
    assert_eq!(notices.len(), 1);
    let spike = notices[0].spike();
    assert!((1.5..2.5).contains(&spike.baseline_per_second), "{spike:?}");
}

proptest! {
    /// Checks any counts and times of reading: spikes follow each other and share no drop. Equal input
    /// gives equal output.
    #[test]
    fn spikes_of_one_scope_follow_each_other(steps in prop::collection::vec((1_u64..8000, 0_u64..200), 1..400)) {
        let run = || {
            let (mut detector, mut time, mut sum) = (detector(), 1_000 * SECOND, 0);
            let mut notices = Vec::new();
            for (millis, more) in &steps {
                time += millis * 1_000_000;
                // Most readings bring nothing.
                sum += more.saturating_sub(150) * 10;
                notices.extend(detector.tick([(&web(), &drops(sum))], Timestamp::from_nanos(time)));
            }
            (notices, detector.spikes(), sum)
        };
        let (notices, spikes, sum) = run();
        prop_assert_eq!((&notices, &spikes), (&run().0, &run().1));
        let mine = of_listener(notices);
        for (index, notice) in mine.iter().enumerate() {
            prop_assert_eq!(matches!(notice, SpikeNotice::Ended(_)), index % 2 == 1);
            let spike = notice.spike();
            prop_assert!(spike.started <= spike.last_drop && spike.last_drop <= spike.ended.unwrap_or(spike.last_drop));
            prop_assert!(spike.peak_per_second <= spike.drops);
        }
        let of_mine = spikes.iter().filter(|spike| matches!(spike.scope, SpikeScope::Account(..)));
        prop_assert!(of_mine.map(|spike| spike.drops).sum::<u64>() <= sum);
    }
}
