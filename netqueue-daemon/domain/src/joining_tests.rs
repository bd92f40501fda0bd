//! Tests of listeners that the inventory found, joined with the kernel side's charges.

use std::net::Ipv4Addr;

use super::*;
use crate::{
    Activity, AggregatorSettings, Counts, DropKind, Family, Known, Limit, Netns, Owner, OwnerState,
    ProcessState, QueueState, Sysctls, Unknown,
};

const HOST: Netns = Netns::at_attach(7);
const WEB: Endpoint = Endpoint { netns: HOST, addr: std::net::IpAddr::V4(Ipv4Addr::UNSPECIFIED), port: 80 };

fn at(nanos: u64) -> Timestamp {
    Timestamp::from_nanos(nanos)
}

fn aggregator() -> Aggregator {
    Aggregator::new(AggregatorSettings { event_memory: 1 << 20, ..AggregatorSettings::of(HOST) }, at(1))
}

fn charged(slot: u64) -> AccountKey {
    AccountKey::Listener { socket: SocketId(slot), at: WEB }
}

fn drops(number: u64) -> Counts {
    Counts::from_fn(|kind| if kind == DropKind::AcceptQueueFullSyn { number } else { 0 }, |_| 0, |_| 0)
}

fn held_by(comm: &str) -> Known<Arc<[Owner]>> {
    let (executable, place) = (Err(Unknown::NotYet), Err(Unknown::NotYet));
    Ok([Owner { pid: 10, started: 1, comm: comm.into(), executable, place, ended: false }].into())
}

fn found(inode: u64, owners: Known<Arc<[Owner]>>) -> Listener {
    Listener {
        at: WEB,
        inode: SocketInode(inode),
        cookie: Err(Unknown::NotYet),
        family: Family::Ipv4,
        interface: None,
        uid: 0,
        reuseport: None,
        limit: Limit {
            backlog: Ok(128),
            argument: Err(Unknown::BeforeAttach),
            somaxconn_then: Err(Unknown::BeforeAttach),
            sysctls: Arc::new(Sysctls::unknown(Unknown::NotYet)),
        },
        owners,
        opened: Err(Unknown::BeforeAttach),
        found: at(5),
        closed: None,
    }
}

fn look(queues: &mut Aggregator, listener: Listener) {
    queues.learn(Changes { listeners: vec![listener.into()], ..Changes::default() }, at(10));
}

#[test]
fn a_listener_without_any_drop_is_an_account_and_stays_the_same_when_it_drops() {
    let mut queues = aggregator();
    look(&mut queues, found(900, held_by("nginx")));
    let before = queues.snapshot(at(11));
    assert_eq!((before.accounts.len(), &*before.accounts[0].process), (1, "nginx"));

    queues.identify(charged(4), SocketInode(900), at(20));
    queues.count([(charged(4), drops(24))], at(20));
    let after = queues.snapshot(at(21));
    assert_eq!(after.accounts.len(), 1);
    assert_eq!(after.accounts[0].id, before.accounts[0].id);
    assert_eq!(after.account(&charged(4)).map(|web| web.counts.drop_total()), Some(24));
}

#[test]
fn a_listener_charged_before_it_was_found_gets_its_owner_later() {
    let mut queues = aggregator();
    queues.identify(charged(4), SocketInode(900), at(8));
    queues.count([(charged(4), drops(3))], at(8));
    look(&mut queues, found(900, held_by("nginx")));
    queues.count([(charged(4), drops(5))], at(12));
    let snapshot = queues.snapshot(at(13));
    let parts: Vec<_> =
        snapshot.accounts[0].by_name().map(|(name, counts)| (name.to_owned(), counts.drop_total())).collect();
    assert_eq!(parts, [(String::new(), 3), ("nginx".to_owned(), 2)], "no series loses what it had");
}

#[test]
fn members_of_a_reuseport_group_are_told_apart_by_their_sockets() {
    let mut queues = aggregator();
    for inode in [900, 901] {
        look(&mut queues, found(inode, held_by("worker")));
    }
    queues.identify(charged(5), SocketInode(901), at(20));
    queues.count([(charged(5), drops(7))], at(20));
    let snapshot = queues.snapshot(at(21));
    let totals: Vec<_> = snapshot.accounts.iter().map(|member| member.counts.drop_total()).collect();
    assert_eq!(totals, [0, 7]);
}

#[test]
fn a_closed_listener_keeps_its_owner_and_its_inode_may_be_anothers() {
    let mut queues = aggregator();
    look(&mut queues, found(900, held_by("nginx")));
    look(&mut queues, Listener { closed: Some(at(15)), ..found(900, held_by("nginx")) });
    look(&mut queues, found(900, held_by("redis")));
    let snapshot = queues.snapshot(at(21));
    let known: Vec<_> =
        snapshot.accounts.iter().map(|account| (&*account.process, account.closed.is_some())).collect();
    assert_eq!(known, [("nginx", true), ("redis", false)]);
}

#[test]
fn a_listener_that_changes_hands_over_and_over_keeps_its_last_name_and_the_sum() {
    let mut queues = aggregator();
    queues.identify(charged(4), SocketInode(900), at(8));
    for (round, name) in ["a", "b", "c", "d", "e", "f", "g"].into_iter().enumerate() {
        look(&mut queues, found(900, held_by(name)));
        queues.count([(charged(4), drops(10 * (round as u64 + 1)))], at(20));
    }
    let snapshot = queues.snapshot(at(21));
    let account = &snapshot.accounts[0];
    assert_eq!(account.by_name().map(|(_, counts)| counts.drop_total()).sum::<u64>(), 70);
    assert_eq!(account.by_name().count(), 5);
}

#[test]
fn the_queue_as_looked_at_is_shown() {
    let mut queues = aggregator();
    look(&mut queues, found(900, held_by("nginx")));
    let full = QueueState { length: 129, limit: 128 };
    queues.learn(Changes { queues: vec![(SocketInode(900), full)], ..Changes::default() }, at(11));
    assert_eq!(queues.snapshot(at(12)).accounts[0].queues.accept, Some(full));
}

#[test]
fn a_process_that_goes_on_keeps_what_had_stopped_it_and_a_recording_too() {
    let mut queues = aggregator();
    look(&mut queues, found(900, held_by("web")));
    let state = |at_nanos, activity| {
        let process = ProcessState { pid: 10, activity: Some(activity), ..ProcessState::default() };
        Arc::new(OwnerState {
            at: at(at_nanos),
            sharing: 1,
            processes: vec![process],
            ..OwnerState::default()
        })
    };
    let mut examined = |at_nanos, activity| {
        let owner_states = vec![(SocketInode(900), state(at_nanos, activity))];
        let changes = Changes { owner_states, ..Changes::default() };
        assert!(changes.tell_anything());
        let line = serde_json::to_string(&changes).expect("it is written");
        queues.learn(serde_json::from_str(&line).expect("it is read"), at(at_nanos));
    };
    examined(20, Activity::Stopped);
    examined(30, Activity::Sleeping);
    let snapshot = queues.snapshot(at(40));
    let account = &snapshot.accounts[0];
    assert_eq!(account.owner_state, Some(state(30, Activity::Sleeping)));
    assert_eq!(account.owner_hindered, Some(state(20, Activity::Stopped)));
    let old: Changes =
        serde_json::from_str(r#"{"listeners":[],"queues":[],"warnings":[]}"#).expect("it is read");
    assert!(old.owner_states.is_empty(), "of a recording made before owners were examined");
}
