//! Properties of snapshots that their readers rely on.

use std::net::Ipv4Addr;

use super::*;
use crate::{DropKind, Endpoint, QueueState, SocketId, What};
use crate::{Peak, TrafficReading};

const HOST: Netns = Netns::at_attach(7);

fn web(socket: u64) -> AccountKey {
    let at = Endpoint { netns: HOST, addr: Ipv4Addr::UNSPECIFIED.into(), port: 80 };
    AccountKey::Listener { socket: SocketId(socket), at }
}

fn syn_dropped(account: AccountKey, at: u64) -> Event {
    Event {
        time: Timestamp::from_nanos(at),
        account,
        local_port: 80,
        peer: None,
        what: What::Drop(DropKind::AcceptQueueFullSyn),
        kernel_reason: None,
        queues: Queues { accept: Some(QueueState { length: 2, limit: 1 }), syn: None },
        cpu: 0,
        age: None,
    }
}

fn drops(number: u64) -> Counts {
    Counts::from_fn(|kind| if kind == DropKind::AcceptQueueFullSyn { number } else { 0 }, |_| 0, |_| 0)
}

fn aggregator() -> Aggregator {
    Aggregator::new(
        AggregatorSettings { event_memory: 1 << 20, ..AggregatorSettings::of(HOST) },
        Timestamp::from_nanos(1),
    )
}

#[test]
fn lost_events_do_not_change_what_is_counted() {
    let mut queues = aggregator();
    queues.count([(web(1), drops(24))], Timestamp::from_nanos(20));
    queues.observe(syn_dropped(web(1), 10));
    let snapshot = queues.snapshot(Timestamp::from_nanos(30));
    let account = snapshot.account(&web(1)).expect("it was charged");
    assert_eq!(account.counts.drop_total(), 24);
    assert_eq!(account.queues.accept, Some(QueueState { length: 2, limit: 1 }));
    assert_eq!(
        (account.first_seen, account.last_seen),
        (Timestamp::from_nanos(10), Timestamp::from_nanos(20))
    );
}

#[test]
fn a_queue_that_was_long_for_a_moment_is_remembered_when_it_is_empty_again() {
    let mut queues = aggregator();
    let seconds = |n: u64| Timestamp::from_nanos(n * 1_000_000_000);
    let reading = |peak, length| TrafficReading {
        counts: Traffic { established: 129, ..Traffic::default() },
        accept_peak: peak,
        queues: Queues { accept: Some(QueueState { length, limit: 128 }), syn: None },
    };
    queues.flow([(web(1), reading(129, 0))], seconds(10));
    queues.flow([(web(1), reading(0, 0))], seconds(11));
    let peak = |queues: &Aggregator, at| {
        queues.snapshot(seconds(at)).account(&web(1)).map(|account| account.traffic.accept_peak)
    };
    assert_eq!(peak(&queues, 11), Some(Peak { since_scrape: 129, window: 129 }));
    queues.scraped();
    assert_eq!(peak(&queues, 12), Some(Peak { since_scrape: 0, window: 129 }));
    assert_eq!(peak(&queues, 71), Some(Peak { since_scrape: 0, window: 0 }));
}

#[test]
fn a_listener_opened_again_on_its_port_is_another_and_the_dead_one_stays() {
    let mut queues = aggregator();
    queues.count([(web(1), drops(5))], Timestamp::from_nanos(10));
    queues.count([(web(2), drops(3))], Timestamp::from_nanos(20));
    let snapshot = queues.snapshot(Timestamp::from_nanos(30));
    let mine: Vec<_> = snapshot.accounts.iter().map(|a| (a.id.0, a.counts.drop_total())).collect();
    assert_eq!(mine, [(1, 5), (2, 3)]);
}

#[test]
fn a_snapshot_does_not_change_afterwards() {
    let mut queues = aggregator();
    queues.count([(web(1), drops(1))], Timestamp::from_nanos(10));
    queues.observe(syn_dropped(web(1), 10));
    let before = queues.snapshot(Timestamp::from_nanos(15));
    queues.count([(web(2), drops(1))], Timestamp::from_nanos(20));
    queues.observe(syn_dropped(web(2), 20));
    assert_eq!((before.accounts.len(), before.events.len()), (1, 1));
}

#[test]
fn an_endpoint_whose_slot_was_given_back_goes_on_where_it_was() {
    let scanned = AccountKey::Endpoint(Endpoint { netns: HOST, addr: Ipv4Addr::LOCALHOST.into(), port: 81 });
    let at = Timestamp::from_nanos;
    let mut queues = aggregator();
    let seen = |queues: &Aggregator| {
        let snapshot = queues.snapshot(at(99));
        snapshot.account(&scanned).map_or(0, |account| account.counts.drop_total())
    };
    queues.count([(scanned, drops(7))], at(10));
    // A packet came while the slot was being given back: the endpoint has two slots for a while.
    queues.count([(scanned, drops(1)), (scanned, drops(7))], at(20));
    assert_eq!(seen(&queues), 8);
    queues.settle(scanned, drops(7), at(25));
    queues.count([(scanned, drops(2))], at(30));
    assert_eq!(seen(&queues), 9);
    queues.settle(scanned, drops(2), at(25));
    queues.count([], at(40));
    assert_eq!(seen(&queues), 9);
}

#[test]
fn what_a_listener_was_charged_after_the_last_look_is_not_lost_with_its_slot() {
    let mut queues = aggregator();
    queues.count([(web(1), drops(5))], Timestamp::from_nanos(10));
    queues.settle(web(1), drops(6), Timestamp::from_nanos(20));
    queues.count([], Timestamp::from_nanos(30));
    let snapshot = queues.snapshot(Timestamp::from_nanos(40));
    assert_eq!(snapshot.account(&web(1)).map(|account| account.counts.drop_total()), Some(6));
}
