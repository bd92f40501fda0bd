//! Tests of the counters beside netqueue's own: from the kernel's text to sentences.

use std::net::Ipv4Addr;

use super::*;
use crate::{
    AccountKey, Aggregator, AggregatorSettings, Counts, Endpoint, Netns, Observation, ResetCause, Timestamp,
};

const HOST: Netns = Netns::at_attach(7);
const POD: Netns = Netns { inode: 9, generation: 2 };
const TEXT: &str = "\
TcpExt: SyncookiesSent IPReversePathFilter TCPMD5Failure EstabResets
TcpExt: 3 2 6 77
Tcp: RtoAlgorithm MaxConn EstabResets InErrs InCsumErrors
Tcp: 1 -1 9 5 2
";

const fn at(seconds: u64) -> Timestamp {
    Timestamp::from_nanos(seconds * 1_000_000_000)
}

fn aggregator() -> Aggregator {
    Aggregator::new(AggregatorSettings::of(HOST), at(0))
}

fn told(aggregator: &Aggregator, from: u64, now: u64) -> Vec<String> {
    beside(&aggregator.snapshot(at(now)), at(from)).into_iter().map(|one| one.sentence).collect()
}

#[test]
fn each_counter_is_found_by_its_group_and_name_and_told_by_its_increase() {
    let read = BesideValues::parse(TEXT);
    let nothing = BesideValues::default();
    assert_eq!(
        read.risen_since(&nothing),
        [
            (BesideCounter::EstabResets, 9),
            (BesideCounter::ReversePathFilter, 2),
            (BesideCounter::Md5Failure, 6),
            (BesideCounter::InErrs, 5),
            (BesideCounter::InCsumErrors, 2),
        ]
    );
    let later = BesideValues::parse(&TEXT.replace("3 2 6", "3 4 6"));
    assert_eq!(later.risen_since(&read), [(BesideCounter::ReversePathFilter, 2)]);
}

#[test]
fn every_counter_has_a_sentence_that_names_it() {
    let mut settings = insta::Settings::clone_current();
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    let mut text = String::new();
    for counter in BesideCounter::ALL {
        for by in [1, 2] {
            let mut queues = aggregator();
            queues.apply(at(10), Observation::Beside(HOST, vec![(counter, by)]));
            let told = told(&queues, 0, 11);
            assert_eq!(told.len(), 1, "{told:?}");
            assert!(told[0].contains(counter.as_str()), "{told:?}");
            text += &format!("{}\n", told[0]);
        }
    }
    settings.bind(|| insta::assert_snapshot!("beside_sentences", text));
}

#[test]
fn resets_that_netqueue_saw_sent_are_not_told_as_received() {
    let mut queues = aggregator();
    let key = AccountKey::Endpoint(Endpoint { netns: HOST, addr: Ipv4Addr::LOCALHOST.into(), port: 80 });
    (1..=9).for_each(|second| drop(queues.tick(at(second))));
    let sent = Counts::from_fn(|_| 0, |of| if of == ResetCause::LingerZero { 5 } else { 0 }, |_| 0);
    queues.count([(key, sent)], at(10));
    queues.tick(at(10));
    queues.apply(at(10), Observation::Beside(HOST, vec![(BesideCounter::EstabResets, 5)]));
    assert_eq!(told(&queues, 0, 11), [""; 0]);
    queues.apply(at(12), Observation::Beside(HOST, vec![(BesideCounter::EstabResets, 3)]));
    assert_eq!(
        told(&queues, 0, 12),
        ["at least 3 resets were received on established connections (EstabResets)"]
    );
}

#[test]
fn what_moved_is_told_by_namespace_within_the_window_and_then_forgotten() {
    let mut queues = aggregator();
    let filtered = |by| vec![(BesideCounter::ReversePathFilter, by)];
    queues.apply(at(10), Observation::Beside(POD, filtered(3)));
    queues.apply(at(20), Observation::Beside(HOST, filtered(1)));
    queues.apply(at(100), Observation::Beside(POD, filtered(4)));
    let of = |queues: &Aggregator, from, now| -> Vec<_> {
        beside(&queues.snapshot(at(now)), at(from)).into_iter().map(|one| (one.netns, one.by)).collect()
    };
    assert_eq!(of(&queues, 0, 100), [(HOST, 1), (POD, 7)]);
    assert_eq!(of(&queues, 90, 100), [(POD, 4)]);
    queues.tick(at(950));
    assert_eq!(of(&queues, 50, 950), [(POD, 4)]);
    queues.tick(at(1100));
    assert_eq!(queues.snapshot(at(1100)).beside.namespaces().count(), 0);
}

#[test]
fn thousands_of_namespaces_and_hours_of_movement_stay_small() {
    let mut moved = Beside::default();
    for second in 0..7200 {
        moved.rose(HOST, &[(BesideCounter::ChallengeAck, 1)], at(second));
        moved.tick(at(second));
    }
    let (_, counters) = moved.checkpoint().remove(0);
    assert!(counters[0].1.len() <= 32, "{}", counters[0].1.len());
    assert!(moved.moved(HOST, at(7200 - 900))[0].by.abs_diff(900) <= 30);
    for inode in 0..3000 {
        moved.rose(Netns::at_attach(inode), &[(BesideCounter::ChallengeAck, 1)], at(7200));
    }
    moved.tick(at(7300));
    assert_eq!(moved.namespaces().count(), 1024);
}

#[test]
fn a_recording_that_begins_later_has_what_moved_before() {
    let mut queues = aggregator();
    queues.apply(at(10), Observation::Beside(POD, vec![(BesideCounter::Md5Failure, 3)]));
    let text = serde_json::to_string(&queues.checkpoint()).expect("JSON");
    let mut other = aggregator();
    other.apply(at(11), Observation::Checkpoint(serde_json::from_str(&text).expect("a checkpoint")));
    assert_eq!(told(&other, 0, 12), told(&queues, 0, 12));
    assert_eq!(told(&other, 0, 12).len(), 1);
    assert!(serde_json::from_str::<crate::Checkpoint>("{}").expect("an old one").beside.is_empty());
}
