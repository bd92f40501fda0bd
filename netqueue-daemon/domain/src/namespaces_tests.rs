//! Tests of namespaces that appear, are compared, end, and are merged.

use std::net::Ipv4Addr;

use super::*;
use crate::{
    AccountKey, Aggregator, AggregatorSettings, Bracket, Counts, Endpoint, KernelCounter, Observation,
    Snapshot, SocketId, Start,
};

const HOST: Netns = Netns::at_attach(1);
const FIRST: Netns = Netns { inode: 7, generation: 1 };
const SECOND: Netns = Netns { inode: 7, generation: 2 };

fn at(seconds: u64) -> Timestamp {
    Timestamp::from_nanos(seconds * 1_000_000_000)
}

fn all(value: u64) -> PerCounter<u64> {
    PerCounter::from_fn(|_| value)
}

fn told(seconds: u64, what: Observation, queues: &mut Aggregator) -> Snapshot {
    queues.apply(at(seconds), what);
    queues.snapshot(at(seconds))
}

fn charged(netns: Netns, value: u64) -> Observation {
    let place = Endpoint { netns, addr: Ipv4Addr::LOCALHOST.into(), port: 80 };
    let counts = Counts::from_fn(|_| 0, |_| 0, |_| value);
    Observation::Counts(vec![(AccountKey::Endpoint(place), counts)])
}

fn ended(netns: Netns, kernel: u64, charged: u64) -> Observation {
    Observation::Namespaces(NamespaceNews {
        finals: vec![(NetnsFinal { netns, kernel: all(kernel) }, all(charged))],
        ended: vec![netns],
        ..NamespaceNews::default()
    })
}

fn found(netns: Netns, name: &str) -> Observation {
    let found = vec![(netns, Some(name.into()))];
    Observation::Namespaces(NamespaceNews { found, ..NamespaceNews::default() })
}

fn aggregator() -> Aggregator {
    Aggregator::new(AggregatorSettings { event_memory: 1 << 20, ..AggregatorSettings::of(HOST) }, at(0))
}

fn residual(snapshot: &Snapshot, netns: Netns) -> Option<i64> {
    let balance = snapshot.namespaces.get(&netns)?.balance?;
    Some(balance.counters.get(KernelCounter::ListenDrops).residual)
}

#[test]
fn two_that_had_one_inode_number_are_each_compared_with_their_own_counters() {
    let mut queues = aggregator();
    told(1, charged(FIRST, 9), &mut queues);
    told(2, ended(FIRST, 9, 9), &mut queues);
    told(3, charged(SECOND, 4), &mut queues);
    let taken = told(4, ended(SECOND, 5, 4), &mut queues);
    assert_eq!((residual(&taken, FIRST), residual(&taken, SECOND)), (Some(0), Some(1)));
    assert_eq!(taken.netns_name(SECOND), "7.2");
    let first = &taken.namespaces[&FIRST];
    let balance = first.balance.expect("it was compared");
    assert_eq!((first.ended, balance.last, balance.start), (Some(at(2)), true, Start::Birth));
}

#[test]
fn one_whose_end_was_not_told_says_how_old_its_comparison_is_and_what_was_charged_since() {
    let mut queues = aggregator();
    told(1, charged(FIRST, 9), &mut queues);
    told(2, Observation::Compared(FIRST, Bracket::still(all(9), all(9))), &mut queues);
    told(3, charged(FIRST, 12), &mut queues);
    let news = NamespaceNews { ended: vec![FIRST], ..NamespaceNews::default() };
    let taken = told(4, Observation::Namespaces(news), &mut queues);
    let view = &taken.namespaces[&FIRST];
    let balance = view.balance.expect("it was compared");
    assert_eq!((balance.read, balance.last, view.ended), (at(2), false, Some(at(4))));
    assert_eq!(view.charged_since, all(3));
}

#[test]
fn one_that_was_there_at_attach_and_ended_unseen_is_not_said_to_be_exact() {
    let old = Netns::at_attach(9);
    let mut queues = aggregator();
    told(1, charged(old, 3), &mut queues);
    let taken = told(2, ended(old, 5000, 3), &mut queues);
    let view = &taken.namespaces[&old];
    assert_eq!(view.balance, None);
    assert!(view.why_not.as_deref().is_some_and(|why| why.contains("ended before it was found")));
}

#[test]
fn one_in_which_nothing_ever_happened_leaves_no_trace_and_one_that_lost_a_charge_does() {
    let mut queues = aggregator();
    assert_eq!(told(1, ended(FIRST, 0, 0), &mut queues).namespaces.len(), 1, "the host's");
    let taken = told(2, ended(SECOND, 2, 0), &mut queues);
    assert_eq!(residual(&taken, SECOND), Some(2));
}

fn pod(number: u32) -> Netns {
    Netns { inode: 100 + number, generation: 1 }
}

/// Plays the life of a namespace in which a closed port and a closed listener are charged.
fn life(queues: &mut Aggregator, netns: Netns, name: Option<&str>, at_second: u64) {
    let place = Endpoint { netns, addr: Ipv4Addr::LOCALHOST.into(), port: 80 };
    let key = AccountKey::Endpoint(place);
    if let Some(name) = name {
        queues.apply(at(at_second), found(netns, name));
    }
    let socket = SocketId(u64::from(netns.inode));
    let listener = AccountKey::Listener { socket, at: Endpoint { port: 81, ..place } };
    let counts = Counts::from_fn(|_| 0, |_| 0, |_| 3);
    for key in [key, listener] {
        queues.apply(at(at_second), Observation::Counts(vec![(key, counts)]));
    }
    queues.apply(at(at_second), Observation::Closed(vec![(listener, at(at_second))]));
    queues.apply(at(at_second), ended(netns, 6, 6));
    queues.apply(at(at_second), Observation::Settled(vec![(key, counts), (listener, counts)]));
}

fn sum(taken: &Snapshot, of: impl Fn(Netns) -> bool) -> u64 {
    let counted = taken.accounts.iter().filter(|account| of(account.key.netns()));
    counted.map(|account| account.counts.kernel().get(KernelCounter::ListenDrops)).sum()
}

fn scraped(queues: &mut Aggregator, times: usize) {
    (0..times).for_each(|_| queues.scraped());
}

#[test]
fn a_namespace_that_ended_is_shown_in_two_scrapes_and_then_part_of_those_gone() {
    let mut queues = aggregator();
    life(&mut queues, pod(1), None, 10);
    scraped(&mut queues, 1);
    queues.tick(at(500));
    assert!(queues.snapshot(at(500)).namespaces.contains_key(&pod(1)), "it was shown once");
    scraped(&mut queues, 1);
    queues.tick(at(501));
    let taken = queues.snapshot(at(501));
    assert!(!taken.namespaces.contains_key(&pod(1)));
    assert_eq!((sum(&taken, |netns| netns == pod(1)), sum(&taken, |netns| netns == Netns::GONE)), (0, 6));
    let gone = &taken.namespaces[&Netns::GONE];
    let balance = gone.balance.expect("all were compared");
    assert_eq!((&*gone.name, balance.last, gone.charged_since), ("gone", true, all(0)));
    let drops = balance.counters.get(KernelCounter::ListenDrops);
    assert_eq!((drops.since_attach, drops.attributed, drops.residual), (6, 6, 0));
}

#[test]
fn while_a_namespace_of_the_same_name_lives_its_series_do_not_fall() {
    let mut queues = aggregator();
    for number in 1..=100 {
        life(&mut queues, pod(number), Some("job"), u64::from(number) * 200);
        let living = pod(number + 1);
        told(u64::from(number) * 200 + 1, found(living, "job"), &mut queues);
        told(u64::from(number) * 200 + 1, charged(living, 3), &mut queues);
        scraped(&mut queues, 2);
        queues.tick(at(u64::from(number) * 200 + 150));
        let taken = queues.snapshot(at(u64::from(number) * 200 + 150));
        let there = taken.accounts.iter().filter(|account| account.key.port() == Some(80));
        let there = there.map(|account| account.counts.kernel().get(KernelCounter::ListenDrops));
        assert_eq!(there.sum::<u64>(), u64::from(number) * 3 + 3);
        assert_eq!(sum(&taken, |_| true), u64::from(number) * 6 + 3);
        assert!(taken.accounts.len() <= 8 && taken.namespaces.len() <= 5, "{number}");
        let balances = taken.balances().filter(|balance| taken.netns_name(balance.netns) == "job");
        let attributed = balances.map(|balance| balance.counters.get(KernelCounter::ListenDrops).attributed);
        assert_eq!(attributed.sum::<i64>(), i64::from(number) * 6);
    }
}

#[test]
fn nobody_scrapes_and_thousands_of_namespaces_come_and_go_in_bounded_memory() {
    let keep = crate::Keep { most: 300, ..crate::Keep::default() };
    let mut queues = Aggregator::new(AggregatorSettings { keep, ..AggregatorSettings::of(HOST) }, at(0));
    for number in 1..=1500 {
        life(&mut queues, pod(number), None, u64::from(number));
        queues.tick(at(number.into()));
        if number % 500 == 0 {
            let taken = queues.snapshot(at(number.into()));
            assert!(taken.accounts.len() <= 1200, "{}", taken.accounts.len());
            assert!(taken.namespaces.len() <= MOST + 10, "{}", taken.namespaces.len());
            assert_eq!(sum(&taken, |_| true), u64::from(number) * 6);
        }
    }
}

#[test]
fn a_name_is_shown_wherever_the_namespace_is() {
    let mut queues = aggregator();
    told(1, found(FIRST, "blue"), &mut queues);
    let taken = told(2, found(HOST, "not this one"), &mut queues);
    assert_eq!((taken.netns_name(FIRST), taken.netns_name(HOST)), ("blue".to_owned(), "host".to_owned()));
}

#[test]
fn a_containers_namespace_is_not_called_host() {
    let settings = AggregatorSettings { sees_host: false, ..AggregatorSettings::of(HOST) };
    let queues = Aggregator::new(settings, at(0));
    let snapshot = queues.snapshot(at(1));
    assert_eq!((snapshot.netns_name(HOST), snapshot.sees_host()), (HOST.to_string(), false));
    assert!(Aggregator::new(AggregatorSettings::of(HOST), at(0)).snapshot(at(1)).sees_host());
}
