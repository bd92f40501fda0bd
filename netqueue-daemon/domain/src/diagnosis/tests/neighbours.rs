//! Tests of what is told of listeners beside a closed port, from accounts to the sentence.

use std::{net::IpAddr, sync::Arc};

use super::*;
use crate::{
    Aggregator, AggregatorSettings, Changes, ConnectionResets, Family, Limit, Listener, Owner, SocketInode,
    Sysctls, Unknown,
};

fn addr(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

fn at_addr(text: &str, port: u16) -> Endpoint {
    Endpoint { netns: Netns::at_attach(7), addr: addr(text), port }
}

fn listening(number: u64, at: Endpoint, family: Family, comm: &str) -> Listener {
    let owner = Owner {
        pid: 100 + number as u32,
        started: number,
        comm: comm.into(),
        executable: Err(Unknown::NotYet),
        place: Err(Unknown::NotYet),
        ended: false,
    };
    Listener {
        at,
        inode: SocketInode(number),
        cookie: Ok(number),
        family,
        interface: None,
        uid: 0,
        reuseport: None,
        limit: Limit {
            backlog: Ok(128),
            argument: Ok(128),
            somaxconn_then: Err(Unknown::BeforeAttach),
            sysctls: Arc::new(Sysctls::unknown(Unknown::NotYet)),
        },
        owners: Ok([owner].into()),
        opened: Err(Unknown::BeforeAttach),
        found: seconds(1),
        closed: None,
    }
}

fn machine(listeners: Vec<Listener>, charged: &[(Endpoint, ResetCause, u64)]) -> crate::Snapshot {
    let mut queues = Aggregator::new(AggregatorSettings::of(Netns::at_attach(7)), seconds(0));
    let listeners = listeners.into_iter().map(Arc::new).collect();
    queues.apply(seconds(1), crate::Observation::Listeners(Changes { listeners, ..Changes::default() }));
    queues.tick(seconds(2));
    for (at, cause, number) in charged {
        queues.count([(AccountKey::Endpoint(*at), resets(*cause, *number))], seconds(3));
    }
    queues.tick(seconds(3));
    queues.snapshot(seconds(4))
}

fn closed_port(listeners: Vec<Listener>, port: u16) -> Verdict {
    let snapshot = machine(listeners, &[(at_addr("10.0.0.2", port), ResetCause::NoListener, 5)]);
    let mut told = evaluate(&evidence(&snapshot, seconds(0)));
    assert_eq!((told.len(), told[0].rule), (1, "closed_port"), "{told:?}");
    told.remove(0)
}

fn ends_with(verdict: &Verdict, expected: &str) {
    assert!(verdict.summary.ends_with(expected), "{}", verdict.summary);
}

#[test]
fn a_listener_on_another_address_of_the_port_is_named() {
    let api = listening(1, at_addr("127.0.0.1", 7010), Family::Ipv4, "api");
    let verdict = closed_port(vec![api], 7010);
    ends_with(&verdict, "That is at 10.0.0.2: api (pid 101) listens on 127.0.0.1:7010 only.");
}

#[test]
fn a_listener_for_ipv6_only_does_not_serve_ipv4_and_is_no_owner_of_the_resets() {
    let api = listening(1, at_addr("::", 7011), Family::Ipv6, "api6");
    let verdict = closed_port(vec![api], 7011);
    ends_with(&verdict, "That is at 10.0.0.2: api6 (pid 101) listens on [::]:7011, IPv6 only.");
    assert_eq!(verdict.owner, None);
}

#[test]
fn few_listeners_on_other_ports_are_named_and_many_are_not() {
    let web = listening(1, at_addr("0.0.0.0", 7112), Family::Ipv4, "web");
    let verdict = closed_port(vec![web], 7012);
    ends_with(&verdict, "In this network namespace web (pid 101) listens on 0.0.0.0:7112.");
    let many = (1..9).map(|n| listening(n, at_addr("0.0.0.0", 7100 + n as u16), Family::Ipv4, "web"));
    ends_with(&closed_port(many.collect(), 7012), "each was answered with a reset.");
}

#[test]
fn resets_of_accepted_connections_belong_to_the_listener_that_took_them() {
    let of = |listeners: Vec<Listener>, at, cause| -> u64 {
        let snapshot = machine(listeners, &[(at, cause, 37)]);
        let accounts = snapshot.accounts.iter().map(|account| &**account);
        let resets = ConnectionResets::new(accounts.clone());
        let listeners = accounts.filter(|account| account.key.is_listener());
        listeners.flat_map(|account| resets.of(&account.key)).map(|(_, count)| count).sum()
    };
    let wild = |family, text| vec![listening(1, at_addr(text, 8084), family, "api")];
    let at = at_addr("10.0.0.2", 8084);
    assert_eq!(of(wild(Family::Ipv4, "0.0.0.0"), at, ResetCause::LingerZero), 37);
    assert_eq!(of(wild(Family::DualStack, "::"), at, ResetCause::LingerZero), 37);
    assert_eq!(of(wild(Family::Ipv6, "::"), at, ResetCause::LingerZero), 0);
    assert_eq!(of(wild(Family::Ipv4, "127.0.0.1"), at, ResetCause::LingerZero), 0);
    assert_eq!(of(wild(Family::Ipv4, "0.0.0.0"), at, ResetCause::NoListener), 0);
    assert_eq!(of(wild(Family::Ipv4, "0.0.0.0"), at_addr("10.0.0.2", 8085), ResetCause::LingerZero), 0);
}

#[test]
fn a_cookie_for_every_syn_is_no_full_queue() {
    let cookies = kernel(&[(KernelCounter::ReqQFullDoCookies, 60), (KernelCounter::SyncookiesSent, 60)]);
    let with = |syncookies| Evidence {
        settings: SysctlValues { syncookies: Some(syncookies), ..SysctlValues::default() },
        ..charged(cookies)
    };
    assert_eq!(rules(&with(1)), ["syn_flood_absorbed"]);
    assert_eq!(rules(&with(2)), ["syncookies_always"]);
}

#[test]
fn deferred_handshakes_are_told_with_a_full_syn_queue() {
    let cookies = kernel(&[(KernelCounter::ReqQFullDoCookies, 60), (KernelCounter::SyncookiesSent, 60)]);
    let verdict = first(&Evidence { deferred: 12, ..charged(cookies) });
    assert!(
        verdict.summary.contains("12 final ACKs were set aside (TCPDeferAcceptDrop)"),
        "{}",
        verdict.summary
    );
}
