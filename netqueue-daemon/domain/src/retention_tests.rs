//! Tests of listeners, endpoints and namespaces that ended, and of what becomes of their counts.

use std::{net::Ipv4Addr, sync::Arc};

use crate::{
    AccountKey, Aggregator, AggregatorSettings, Changes, Counts, DropKind, Endpoint, Family, Keep, Limit,
    Listener, Netns, Snapshot, SocketId, SocketInode, Sysctls, Timestamp, Unknown,
};

const HOST: Netns = Netns::at_attach(7);

fn at(port: u16) -> Endpoint {
    Endpoint { netns: HOST, addr: Ipv4Addr::UNSPECIFIED.into(), port }
}

fn listener(socket: u64, port: u16) -> AccountKey {
    AccountKey::Listener { socket: SocketId(socket), at: at(port) }
}

fn drops(number: u64) -> Counts {
    Counts::from_fn(|kind| if kind == DropKind::AcceptQueueFullSyn { number } else { 0 }, |_| 0, |_| 0)
}

const fn second(number: u64) -> Timestamp {
    Timestamp::from_nanos(number * 1_000_000_000)
}

fn aggregator(most: usize) -> Aggregator {
    let keep = Keep { most, ..Keep::default() };
    Aggregator::new(AggregatorSettings { keep, ..AggregatorSettings::of(HOST) }, second(0))
}

fn sum(snapshot: &Snapshot) -> u64 {
    snapshot.accounts.iter().map(|account| account.counts.drop_total()).sum()
}

fn scrape(queues: &mut Aggregator, times: u32) {
    (0..times).for_each(|_| queues.scraped());
}

#[test]
fn a_port_that_is_gone_for_good_leaves_its_sum_after_two_scrapes_and_two_minutes() {
    let mut queues = aggregator(100);
    queues.count([(listener(1, 80), drops(24))], second(10));
    queues.close([(listener(1, 80), second(11))]);
    queues.settle(listener(1, 80), drops(24), second(12));
    let shown = |queues: &Aggregator| queues.snapshot(second(999)).account(&listener(1, 80)).is_some();
    queues.tick(second(200));
    assert!(shown(&queues), "nobody has scraped it");
    scrape(&mut queues, 2);
    queues.tick(second(100));
    assert!(shown(&queues), "it was there a minute ago");
    queues.tick(second(200));
    assert!(!shown(&queues));
    let taken = queues.snapshot(second(200));
    let gone = taken.account(&AccountKey::Gone(HOST)).expect("its sum stays");
    assert_eq!((gone.counts.drop_total(), gone.predecessors, sum(&taken)), (24, 1, 24));
}

/// Creates a listener that the inventory found and that nothing was charged to.
fn found(inode: u64, port: u16, closed: Option<Timestamp>) -> Arc<Listener> {
    let unknown = Unknown::NotYet;
    let limit = Limit {
        backlog: Ok(16),
        argument: Ok(16),
        somaxconn_then: Err(unknown),
        sysctls: Arc::new(Sysctls::unknown(unknown)),
    };
    Arc::new(Listener {
        at: at(port),
        inode: SocketInode(inode),
        cookie: Ok(inode),
        family: Family::Ipv4,
        interface: None,
        uid: 0,
        reuseport: None,
        limit,
        owners: Err(unknown),
        opened: Err(unknown),
        found: second(1),
        closed,
    })
}

#[test]
fn ten_thousand_ports_that_never_had_a_client_are_gone_after_two_scrapes_whatever_the_cap() {
    let keep = Keep { most: 100_000, ..Keep::default() };
    let mut queues = Aggregator::new(
        AggregatorSettings { keep, max_series: 100_000, ..AggregatorSettings::of(HOST) },
        second(0),
    );
    let listeners = |closed| (1..=10_000).map(|port| found(port.into(), port, closed)).collect();
    queues.learn(Changes { listeners: listeners(None), ..Changes::default() }, second(1));
    scrape(&mut queues, 5);
    queues.tick(second(2));
    assert_eq!(queues.snapshot(second(2)).accounts.len(), 10_000, "they live");
    queues.learn(Changes { listeners: listeners(Some(second(3))), ..Changes::default() }, second(3));
    scrape(&mut queues, 1);
    queues.tick(second(4));
    assert_eq!(queues.snapshot(second(4)).accounts.len(), 10_000, "one scrape may be under way or lost");
    scrape(&mut queues, 1);
    queues.tick(second(5));
    let left = queues.snapshot(second(5));
    assert_eq!((left.accounts.len(), left.accounts[0].predecessors), (1, 10_000));
}

#[test]
fn a_server_that_restarts_every_minute_is_one_series_that_never_falls() {
    let mut queues = aggregator(100);
    let mut before = 0;
    for life in 1..=60 {
        queues.count([(listener(life, 80), drops(life))], second(60 * life));
        queues.close([(listener(life, 80), second(60 * life + 30))]);
        queues.settle(listener(life, 80), drops(life), second(60 * life + 31));
        queues.count([(listener(life + 1, 80), drops(0))], second(60 * life + 32));
        scrape(&mut queues, 4);
        queues.tick(second(60 * life + 1));
        let taken = queues.snapshot(second(60 * life + 1));
        assert_eq!(sum(&taken), before + life);
        assert!(taken.account(&AccountKey::Gone(HOST)).is_none());
        assert!(taken.accounts.len() <= 5, "{} accounts", taken.accounts.len());
        before += life;
    }
}

#[test]
fn resets_of_a_port_that_is_listened_on_stay_in_its_series() {
    let mut queues = aggregator(100);
    queues.count([(AccountKey::Endpoint(at(80)), drops(1)), (listener(1, 80), drops(2))], second(10));
    queues.settle(AccountKey::Endpoint(at(80)), drops(1), second(15));
    queues.count([(listener(1, 80), drops(2))], second(20));
    scrape(&mut queues, 2);
    queues.tick(second(500));
    assert_eq!(queues.snapshot(second(500)).accounts.len(), 2);
}

#[test]
fn an_endpoint_that_wakes_up_after_it_was_folded_is_counted_once() {
    let scanned = AccountKey::Endpoint(at(81));
    let mut queues = aggregator(100);
    queues.count([(scanned, drops(7))], second(10));
    queues.settle(scanned, drops(7), second(15));
    queues.count([], second(20));
    scrape(&mut queues, 2);
    queues.tick(second(500));
    queues.count([(scanned, drops(1))], second(600));
    assert_eq!(sum(&queues.snapshot(second(600))), 8);
}

#[test]
fn a_series_goes_as_a_whole_or_not_at_all() {
    let mut queues = aggregator(100);
    let end = |queues: &mut Aggregator, life: u64, at: u64| {
        queues.count([(listener(life, 80), drops(life))], second(at));
        queues.close([(listener(life, 80), second(at))]);
        queues.settle(listener(life, 80), drops(life), second(at));
    };
    let shown = |queues: &Aggregator, at: u64| {
        let taken = queues.snapshot(second(at));
        let there = taken.accounts.iter().filter(|account| account.key.port() == Some(80));
        there.map(|account| account.counts.drop_total()).sum::<u64>()
    };
    end(&mut queues, 1, 10);
    end(&mut queues, 2, 100);
    scrape(&mut queues, 2);
    queues.tick(second(150));
    assert_eq!(shown(&queues, 150), 3, "the second was closed a minute ago");
    queues.tick(second(230));
    assert_eq!(shown(&queues, 230), 0);
    assert_eq!(sum(&queues.snapshot(second(230))), 3);
}

#[test]
fn what_had_no_series_of_its_own_is_counted_once_in_other() {
    let keep = Keep { most: 100, ..Keep::default() };
    let mut queues = Aggregator::new(
        AggregatorSettings { keep, max_series: 1, ..AggregatorSettings::of(HOST) },
        second(0),
    );
    for n in 1..=10_u16 {
        let key = listener(n.into(), n);
        queues.count([(key, drops(2))], second(n.into()));
        queues.close([(key, second(n.into()))]);
        queues.settle(key, drops(2), second(n.into()));
    }
    scrape(&mut queues, 2);
    queues.tick(second(200));
    let other = |queues: &Aggregator| {
        queues.snapshot(second(200)).account(&AccountKey::Other(HOST)).map(|other| other.counts.drop_total())
    };
    assert_eq!((other(&queues), sum(&queues.snapshot(second(200)))), (Some(18), 20));
    // The bucket itself is charged, and gives its slot back.
    queues.count([(AccountKey::Other(HOST), drops(5))], second(201));
    assert_eq!((other(&queues), sum(&queues.snapshot(second(201)))), (Some(23), 25));
    queues.settle(AccountKey::Other(HOST), drops(5), second(202));
    assert_eq!((other(&queues), sum(&queues.snapshot(second(202)))), (Some(23), 25));
}

#[test]
fn listeners_that_come_find_places_that_listeners_that_went_had() {
    let mut queues =
        Aggregator::new(AggregatorSettings { max_series: 40, ..AggregatorSettings::of(HOST) }, second(0));
    for n in 1..=100_u16 {
        let key = listener(n.into(), n);
        queues.count([(key, drops(1))], second(n.into()));
        queues.close([(key, second(n.into()))]);
        queues.settle(key, drops(1), second(n.into()));
        queues.tick(second(n.into()));
    }
    // A quarter of the series is free for listeners that come at once.
    let living: Vec<_> = (200..230).map(|port| listener(u64::from(port), port)).collect();
    for (n, some) in living.chunks(10).enumerate() {
        let now = second(101 + n as u64);
        queues.count(some.iter().map(|key| (*key, drops(1))), now);
        queues.tick(now);
    }
    let taken = queues.snapshot(second(104));
    assert!(living.iter().all(|key| taken.account(key).is_some_and(|account| account.apart)));
    assert_eq!(sum(&taken), 130);
}

#[test]
fn nobody_scrapes_and_a_hundred_thousand_ports_come_and_go_in_bounded_memory() {
    let mut queues = aggregator(1000);
    for n in 1..=100_000_u64 {
        let key = listener(n, (n % 60_000) as u16);
        queues.count([(key, drops(1))], second(n));
        queues.close([(key, second(n))]);
        queues.settle(key, drops(1), second(n));
        if n % 500 == 0 {
            queues.tick(second(n));
            assert!(queues.snapshot(second(n)).accounts.len() <= 1502);
        }
    }
    assert_eq!(sum(&queues.snapshot(second(100_000))), 100_000);
}
