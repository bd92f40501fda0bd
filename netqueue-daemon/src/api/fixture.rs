//! An incident for the tests: a listener with drops, a port nobody serves, a full map.

use std::net::IpAddr;

use crate::domain::{
    AccountKey, Aggregator, AttachMode, Bracket, Counts, DropKind, Endpoint, Event, EventFlow, Health,
    KernelCounter, LossReason, Netns, Peer, PerCounter, ProbeStatus, QueueState, Queues, ResetCause, Sample,
    Settings, SocketId, Timestamp, What,
};

pub(super) const HOST: Netns = Netns(4_026_531_840);
pub(super) const POD: Netns = Netns(4_026_532_201);
pub(super) const SECOND: u64 = 1_000_000_000;
pub(super) const ATTACHED: u64 = 1_790_000_000;

pub(super) fn at(seconds: u64) -> Timestamp {
    Timestamp::from_nanos((ATTACHED + seconds) * SECOND)
}

pub(super) fn address(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

pub(super) fn web() -> AccountKey {
    let at = Endpoint { netns: HOST, addr: address("0.0.0.0"), port: 80 };
    AccountKey::Listener { socket: SocketId(1), at }
}

pub(super) fn nobody() -> AccountKey {
    AccountKey::Endpoint(Endpoint { netns: POD, addr: address("::1"), port: 81 })
}

pub(super) fn drops(number: u64) -> Counts {
    Counts::from_fn(
        |kind| if kind == DropKind::AcceptQueueFullSyn { number } else { 0 },
        |_| 0,
        |counter| match counter {
            KernelCounter::ListenOverflows | KernelCounter::ListenDrops => number,
            _ => 0,
        },
    )
}

pub(super) fn resets(number: u64) -> Counts {
    Counts::from_fn(|_| 0, |cause| if cause == ResetCause::NoListener { number } else { 0 }, |_| 0)
}

pub(super) fn drop_event(seconds: u64, port: u16) -> Event {
    Event {
        time: at(seconds),
        account: web(),
        local_port: 80,
        peer: Some(Peer { addr: address("10.9.9.3"), port }),
        what: What::Drop(DropKind::AcceptQueueFullSyn),
        kernel_reason: None,
        queues: Queues { accept: Some(QueueState { length: 2, limit: 1 }), syn: None },
        cpu: 1,
        age: None,
    }
}

pub(super) fn reset_event(seconds: u64) -> Event {
    Event {
        time: at(seconds),
        account: nobody(),
        local_port: 81,
        peer: None,
        what: What::Reset(ResetCause::NoListener),
        kernel_reason: Some("NO_SOCKET".into()),
        queues: Queues::default(),
        cpu: 0,
        age: None,
    }
}

pub(super) fn probe(attached: bool, required: bool) -> ProbeStatus {
    ProbeStatus {
        program: "conn_request_enter",
        function: "tcp_conn_request",
        at: "entry",
        mode: AttachMode::Kprobe,
        required,
        attached,
        detail: (!attached).then(|| "the function is not there: drops at the SYN are not seen".to_owned()),
        missed: Some(0),
    }
}

/// A listener with 24 drops of which 3 are events, a port nobody serves, a full map.
pub(super) fn incident() -> Aggregator {
    let mut queues = Aggregator::new(Settings { host: HOST, event_capacity: 1000 }, at(0));
    queues.count([(web(), drops(24)), (nobody(), resets(1)), (AccountKey::Other(HOST), drops(2))], at(9));
    for event in [drop_event(1, 1001), drop_event(2, 1002), reset_event(3), drop_event(4, 1004)] {
        queues.observe(event);
    }
    let all = |value| PerCounter::from_fn(|_| value);
    let sample = |attributed, kernel| Sample {
        bracket: Bracket { before: all(attributed), kernel: all(kernel), after: all(attributed) },
        last_try: true,
        ..Sample::default()
    };
    queues.set_baseline(HOST, &sample(0, 1000), at(0));
    queues.reconcile(HOST, &sample(26, 1027), at(9));
    queues.found(POD, Some("blue".into()), at(9));
    queues.reconcile(POD, &sample(1, 6), at(9));
    let mut flow = EventFlow { seen: 27, submitted: 4, folded: 2, ..EventFlow::default() };
    flow.lost[LossReason::RingFull as usize] = 23;
    let probes = vec![probe(true, true), probe(false, false)];
    queues.set_health(Health { probes, flow, warnings: vec!["a namespace could not be read".to_owned()] });
    queues
}
