//! SYN floods from peers that never answer.
//! The SYNs are dropped, absorbed by cookies, or refused by the last quarter of tcp_max_syn_backlog.

use netqueue_api::EventKind;
use std::thread;
use std::time::Duration;

use anyhow::Result;

use super::wait_for;
use crate::counters::Counter;
use crate::expectation::{
    Amount, Expectation, ExpectedEvents, ExpectedListener, Experiment, LabSettings, QueueState, Scenario,
    Share, cause, stage,
};
use crate::packet::Segment;
use crate::raw::{FakePeers, peer, peers};
use crate::sockets::Listener;
use crate::sysctl;

pub(super) const WITHOUT_COOKIES: Experiment = Experiment {
    number: "6",
    name: "syn-flood",
    incident: "tcp_syncookies=0, listen(1), 542 SYNs from peers that never answer",
    verdict: "SYN queue full and tcp_syncookies is 0: every further SYN is dropped; the queue's limit is the listener's own backlog",
    provoke: Scenario::Inside(without_cookies),
};

pub(super) const WITH_COOKIES: Experiment = Experiment {
    number: "7",
    name: "syn-flood-cookies",
    incident: "the same with tcp_syncookies=1",
    verdict: "SYN queue full, absorbed: every further SYN is answered with a cookie and nothing is lost",
    provoke: Scenario::Inside(with_cookies),
};

pub(super) const LAST_QUARTER: Experiment = Experiment {
    number: "8",
    name: "syn-backlog-reserve",
    incident: "tcp_syncookies=0, tcp_max_syn_backlog=64, listen(1024), 200 SYNs from peers that never answer",
    verdict: "the last quarter of tcp_max_syn_backlog is kept for peers that connected before: neither queue of the listener is full, \
              raise tcp_max_syn_backlog or turn cookies on",
    provoke: Scenario::Inside(last_quarter),
};

const FLOOD: u16 = 542;
/// Minimum number of drops: the queue of listen(1) admits one or two SYNs.
const REFUSED: u64 = 540;
const PATIENCE: Duration = Duration::from_secs(10);

/// Sends the SYNs, eight per millisecond, so that no queue below TCP drops any.
pub(super) fn flood(listener: &Listener, count: u16) -> Result<FakePeers> {
    let fake = FakePeers::create()?;
    for n in 0..count {
        fake.send(peer(n), listener.loopback(), Segment::Syn)?;
        if n % 8 == 7 {
            thread::sleep(Duration::from_millis(1));
        }
    }
    Ok(fake)
}

fn without_cookies(_: &LabSettings) -> Result<Expectation> {
    sysctl::defaults()?;
    sysctl::ensure("ipv4/tcp_syncookies", 0)?;
    let listener = Listener::ipv4(8006, 1)?;
    let fake = flood(&listener, FLOOD)?;
    wait_for(Counter::ListenDrops, REFUSED, PATIENCE)?;
    Ok(Expectation {
        kernel: vec![
            (Counter::ListenDrops, Amount::AtLeast(REFUSED)),
            (Counter::ReqQFullDrop, Amount::All(Counter::ListenDrops)),
            (Counter::ListenOverflows, Amount::Exactly(0)),
        ],
        listeners: vec![dropped(&listener, cause::SYN_QUEUE_FULL)],
        events: Some(vec![drop_events(
            &listener,
            cause::SYN_QUEUE_FULL,
            FLOOD,
            QueueState { length: 1..=2, limit: 1 },
        )]),
        open: vec![Box::new((listener, fake))],
        ..Expectation::default()
    })
}

fn with_cookies(_: &LabSettings) -> Result<Expectation> {
    sysctl::defaults()?;
    let listener = Listener::ipv4(8007, 1)?;
    let fake = flood(&listener, FLOOD)?;
    wait_for(Counter::SyncookiesSent, REFUSED, PATIENCE)?;
    Ok(Expectation {
        kernel: vec![
            (Counter::SyncookiesSent, Amount::AtLeast(REFUSED)),
            (Counter::ReqQFullDoCookies, Amount::All(Counter::SyncookiesSent)),
            (Counter::ListenDrops, Amount::Exactly(0)),
        ],
        listeners: vec![ExpectedListener {
            address: listener.address(),
            drops: vec![],
            resets: Some(vec![]),
            sole: true,
        }],
        events: Some(vec![]),
        open: vec![Box::new((listener, fake))],
        ..Expectation::default()
    })
}

fn last_quarter(_: &LabSettings) -> Result<Expectation> {
    const SYNS: u16 = 200;
    // 64 less its last quarter is 48; two or three more get in, depending on the kernel's first value.
    const REFUSED: u64 = 145;
    sysctl::defaults()?;
    sysctl::ensure("ipv4/tcp_syncookies", 0)?;
    sysctl::ensure("ipv4/tcp_max_syn_backlog", 64)?;
    let listener = Listener::ipv4(8008, 1024)?;
    let fake = flood(&listener, SYNS)?;
    wait_for(Counter::ListenDrops, REFUSED, PATIENCE)?;
    Ok(Expectation {
        kernel: vec![
            (Counter::ListenDrops, Amount::AtLeast(REFUSED)),
            (Counter::ListenOverflows, Amount::Exactly(0)),
            (Counter::ReqQFullDrop, Amount::Exactly(0)),
        ],
        listeners: vec![dropped(&listener, cause::SYN_BACKLOG_RESERVE)],
        events: Some(vec![drop_events(
            &listener,
            cause::SYN_BACKLOG_RESERVE,
            SYNS,
            QueueState { length: 49..=52, limit: 48 },
        )]),
        open: vec![Box::new((listener, fake))],
        ..Expectation::default()
    })
}

fn dropped(listener: &Listener, cause: &'static str) -> ExpectedListener {
    ExpectedListener {
        address: listener.address(),
        drops: vec![Share { cause, stages: stage::SYN, amount: Amount::All(Counter::ListenDrops) }],
        resets: Some(vec![]),
        sole: true,
    }
}

/// Expects some correct events only, because a flood may exceed the daemon's rate limit of events.
fn drop_events(
    listener: &Listener,
    cause: &'static str,
    count: u16,
    syn_queue: QueueState,
) -> ExpectedEvents {
    ExpectedEvents {
        kind: EventKind::Drop,
        cause,
        stages: stage::SYN,
        port: listener.address().port(),
        peers: peers(count).collect(),
        at_least: 20,
        accept_queue: None,
        syn_queue: Some(syn_queue),
    }
}
