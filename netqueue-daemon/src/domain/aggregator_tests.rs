//! Incidents of accounts and of the namespaces they are in.

use std::net::Ipv4Addr;

use super::*;
use crate::domain::{Bracket, DropKind, Endpoint, KernelCounter, Presence, QueueState, SocketId, What};

const HOST: Netns = Netns(7);
const POD: Netns = Netns(8);

fn at(nanos: u64) -> Timestamp {
    Timestamp::from_nanos(nanos)
}

fn web(socket: u32) -> AccountKey {
    listener(HOST, socket)
}

fn in_pod(socket: u32) -> AccountKey {
    listener(POD, socket)
}

fn listener(netns: Netns, socket: u32) -> AccountKey {
    let at = Endpoint { netns, addr: Ipv4Addr::UNSPECIFIED.into(), port: 80 };
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
    Aggregator::new(Settings { host: HOST, event_capacity: 100 }, Timestamp::from_nanos(1))
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
fn a_listener_opened_again_on_its_port_is_another_and_the_dead_one_stays() {
    let mut queues = aggregator();
    queues.count([(web(1), drops(5))], Timestamp::from_nanos(10));
    queues.count([(web(2), drops(3))], Timestamp::from_nanos(20));
    let snapshot = queues.snapshot(Timestamp::from_nanos(30));
    let mine: Vec<_> = snapshot.accounts.iter().map(|a| (a.id.0, a.counts.drop_total())).collect();
    assert_eq!(mine, [(1, 5), (2, 3)]);
}

fn sample(attributed: u64, kernel: u64) -> Sample {
    let all = |value| PerCounter::from_fn(|_| value);
    let bracket = Bracket { before: all(attributed), kernel: all(kernel), after: all(attributed) };
    Sample { bracket, last_try: true, ..Sample::default() }
}

fn shown(queues: &Aggregator) -> Vec<(String, u64)> {
    let snapshot = queues.snapshot(at(99));
    let name = |account: &AccountView| snapshot.netns_of(account).to_string();
    snapshot.accounts.iter().map(|account| (name(account), account.counts.drop_total())).collect()
}

fn balances(queues: &Aggregator) -> Vec<(String, u64)> {
    let snapshot = queues.snapshot(at(99));
    let compared = snapshot.namespaces.iter().filter_map(|namespace| {
        let drops = namespace.balance?.counters.get(KernelCounter::ListenDrops);
        Some((namespace.name.to_string(), drops.kernel))
    });
    compared.collect()
}

/// Long after, when whoever is found is found.
fn later(nanos: u64) -> Timestamp {
    Timestamp::from_nanos(nanos + 11_000_000_000)
}

#[test]
fn what_a_new_namespace_drops_before_it_is_found_is_not_its_dead_predecessors() {
    let mut queues = pod_with_5_drops(None);
    // The search that misses the old one began at 19; at 20 the new one, with its number, drops 3.
    queues.count([(in_pod(1), drops(5)), (in_pod(2), drops(3))], at(20));
    queues.gone(POD, PerCounter::from_fn(|_| 8), at(19), at(21));
    (0..5).for_each(|_| queues.scraped());
    queues.fold(at(22));
    queues.found(POD, None, at(23));
    (0..5).for_each(|_| queues.scraped());
    queues.fold(later(24));
    let snapshot = queues.snapshot(at(30));
    let alive: Vec<_> = snapshot.namespaces.iter().filter(|it| it.presence == Presence::Alive).collect();
    let newest = snapshot.accounts.iter().find(|account| account.key == in_pod(2)).expect("it is shown");
    assert_eq!(Some(newest.life), alive.last().map(|it| it.life));
}

fn pod_with_5_drops(name: Option<&str>) -> Aggregator {
    let mut queues = aggregator();
    queues.found(POD, name.map(Into::into), at(5));
    queues.count([(in_pod(1), drops(5))], at(10));
    queues.reconcile(POD, &sample(5, 5), at(11));
    queues
}

fn named(pairs: &[(&str, u64)]) -> Vec<(String, u64)> {
    pairs.iter().map(|(name, number)| ((*name).to_owned(), *number)).collect()
}

#[test]
fn a_dead_namespace_is_folded_after_two_scrapes_and_no_sum_goes_backwards() {
    let mut queues = pod_with_5_drops(Some("blue"));
    queues.count([(web(9), drops(1))], at(12));
    queues.scraped();
    queues.gone(POD, PerCounter::from_fn(|_| 5), at(20), at(20));
    for _ in 0..2 {
        queues.fold(later(21));
        assert_eq!(shown(&queues), named(&[("blue", 5), ("host", 1)]));
        assert_eq!(balances(&queues), named(&[("blue", 5)]));
        queues.scraped();
    }
    queues.fold(later(22));
    assert_eq!(shown(&queues), named(&[("host", 1), ("gone", 5)]));
    assert_eq!(balances(&queues), named(&[("gone", 5)]));

    // The kernel side goes on to say 5 under the dead one's key; a new namespace with its number adds 2.
    queues.count([(in_pod(1), drops(5))], at(23));
    assert_eq!(shown(&queues), named(&[("host", 1), ("gone", 5)]));
    queues.count([(in_pod(1), drops(7))], at(24));
    queues.found(POD, Some("green".into()), at(25));
    queues.reconcile(POD, &sample(7, 2), at(26));
    assert_eq!(shown(&queues), named(&[("host", 1), ("gone", 5), ("green", 2)]));
    assert_eq!(balances(&queues), named(&[("gone", 5), ("green", 2)]));
}

#[test]
fn where_nobody_scrapes_the_dead_are_folded_after_ten_minutes() {
    let mut queues = pod_with_5_drops(None);
    queues.gone(POD, PerCounter::from_fn(|_| 5), at(20), at(20));
    queues.fold(Timestamp::from_nanos(20 + 599_000_000_000));
    assert_eq!(shown(&queues), named(&[("8", 5)]));
    queues.fold(Timestamp::from_nanos(20 + 600_000_000_000));
    assert_eq!(shown(&queues), named(&[("gone", 5)]));
}

#[test]
fn an_inode_used_again_unseen_keeps_both_namespaces_apart() {
    let mut queues = pod_with_5_drops(Some("blue"));
    // Another listener on the same port, and the same endpoint, in a new namespace with the same number.
    queues.count([(in_pod(1), drops(5)), (in_pod(2), drops(3))], at(20));
    queues.found(POD, Some("green".into()), at(21));
    queues.reconcile(POD, &sample(8, 3), at(22));
    let snapshot = queues.snapshot(at(30));
    let lives: Vec<_> = snapshot.namespaces.iter().map(|it| (it.netns, it.presence)).collect();
    assert_eq!(lives, [(HOST, Presence::Alive), (POD, Presence::Gone), (POD, Presence::Alive)]);
    assert_eq!(shown(&queues), named(&[("blue", 5), ("green", 3)]));
    assert_ne!(snapshot.accounts[0].life, snapshot.accounts[1].life);
    assert_eq!(snapshot.accounts[1].life, snapshot.namespaces[2].life);
}

#[test]
fn a_name_used_again_goes_on_with_its_series() {
    let mut queues = pod_with_5_drops(Some("blue"));
    queues.gone(POD, PerCounter::from_fn(|_| 5), at(20), at(20));
    let other = Netns(9);
    queues.found(other, Some("blue".into()), at(21));
    queues.reconcile(other, &sample(0, 0), at(22));
    (0..3).for_each(|_| queues.scraped());
    queues.fold(later(23));
    assert_eq!(shown(&queues), named(&[("blue", 5)]), "the sum under that name does not shrink");
    assert_eq!(balances(&queues), named(&[("blue", 0), ("gone", 5)]), "one series for each name");
    queues.gone(other, PerCounter::default(), at(24), at(24));
    (0..2).for_each(|_| queues.scraped());
    queues.fold(later(25));
    assert_eq!(shown(&queues), named(&[("gone", 5)]));
}

#[test]
fn a_charge_in_a_namespace_nobody_found_has_a_number_for_a_name() {
    let mut queues = aggregator();
    queues.count([(in_pod(1), drops(5))], at(10));
    assert_eq!(shown(&queues), named(&[("8", 5)]));
    assert_eq!(queues.snapshot(at(11)).namespaces[1].presence, Presence::Charged);
    queues.found(POD, Some("blue".into()), at(12));
    assert_eq!(shown(&queues), named(&[("blue", 5)]));
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
