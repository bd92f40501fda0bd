//! Late packets of handshakes whose final ACK was dropped.
//! While the listener keeps the request they complete the handshake; afterwards each is answered with a
//! reset. A stray packet gets the same reset, and netqueue must distinguish the two.

use std::net::SocketAddr;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use super::wait_for;
use crate::counters::Counter;
use crate::expectation::{
    Amount, Expectation, ExpectedEvents, ExpectedListener, Experiment, Fixture, QueueState, Scenario, Share,
    cause, stage,
};
use crate::observation::Observation;
use crate::packet::{Segment, SynAck};
use crate::raw::FakePeers;
use crate::sockets::{Family, Listener, PATIENCE};
use crate::sysctl;
use crate::tcp_table::{State, TcpTable};
use crate::watch::Watch;
use netqueue_api::{Event, EventKind, Handshakes};

pub(super) const EXPIRED_HANDSHAKE: Experiment = Experiment {
    number: "5",
    name: "expired-handshake",
    incident: "7 final ACKs find the accept queue full; one peer sends it again when there is room, the other 6 send data after the \
               listener gave their requests up (tcp_synack_retries=1); a stranger sends an ACK",
    verdict: "six \"connection reset by peer\" of an overflow seconds ago, one handshake that was only late, and one reset that has \
              nothing to do with any queue",
    provoke: Scenario::Watching(|fixture| expired(fixture, Family::V4)),
};

pub(super) const EXPIRED_HANDSHAKE_V6: Experiment = Experiment {
    number: "5-v6",
    name: "expired-handshake-ipv6",
    incident: "experiment 5 with IPv6 peers",
    verdict: "six \"connection reset by peer\" of an overflow seconds ago, one handshake that was only late, and one reset that has \
              nothing to do with any queue",
    provoke: Scenario::Watching(|fixture| expired(fixture, Family::V6)),
};

const PORT: u16 = 8005;
const BACKLOG: i32 = 9;
const QUEUED: u32 = 8;
const HANDSHAKES: u16 = 9;
/// Length of a full accept queue: limit + 1.
const FULL: u32 = 10;
const FITTING: usize = (FULL - QUEUED) as usize;
const OVERFLOWS: u64 = HANDSHAKES as u64 - FITTING as u64;
const RECOVERED: u64 = 1;
const EXPIRED: u64 = OVERFLOWS - RECOVERED;
/// Upper bound of a request's life.
/// With one retransmission of the SYN-ACK it is 3 s: 1 s before and 2 s after the retransmission.
const REQUEST_LIVES_LESS_THAN: Duration = Duration::from_secs(10);
/// Allowed deviation of netqueue's age of a handshake.
const TOLERANCE: Duration = Duration::from_millis(500);

fn expired(fixture: &Fixture<'_>, family: Family) -> Result<Expectation> {
    let mut overflow = fixture.netns.run(move || Overflow::prepare(family))?;
    let watch = Watch::begin(fixture, overflow.listener.address())?;
    let mut expectation = Expectation::default();

    overflow = fixture.netns.run(move || overflow.happen())?;
    let seen = Handshakes { suspended: OVERFLOWS, unresolved: OVERFLOWS, ..Handshakes::default() };
    expectation.problems.extend(watch.expect("after the drops", |row| row.handshakes, seen)?);

    overflow = fixture.netns.run(move || overflow.let_one_in())?;
    let seen = Handshakes { recovered: RECOVERED, unresolved: EXPIRED, ..seen };
    expectation.problems.extend(watch.expect("after one was let in", |row| row.handshakes, seen)?);

    overflow = fixture.netns.run(move || overflow.wait_until_given_up())?;
    let seen = Handshakes { timed_out: EXPIRED, unresolved: 0, ..seen };
    expectation.problems.extend(watch.expect(
        "when the listener gave them up",
        |row| row.handshakes,
        seen,
    )?);

    let (overflow, ages) = fixture.netns.run(move || overflow.speak_too_late())?;
    let seen = Handshakes { expired: EXPIRED, ..seen };
    expectation.problems.extend(watch.expect("after the late packets", |row| row.handshakes, seen)?);
    if let Some(seen) = watch.until(|seen| wrong_ages(&ages, seen).is_empty())? {
        expectation.problems.extend(wrong_ages(&ages, &seen));
        expectation.measured.push(compared_ages(&ages, &seen));
    }
    Ok(overflow.expectation(expectation))
}

/// A handshake whose final ACK was dropped.
struct Late {
    answer: SynAck,
    dropped: Instant,
}

/// The incident in progress.
struct Overflow {
    fake: FakePeers,
    listener: Listener,
    _queued: Vec<socket2::Socket>,
    late: Vec<Late>,
    recovered: Vec<(Late, socket2::Socket)>,
}

impl Overflow {
    fn prepare(family: Family) -> Result<Self> {
        sysctl::defaults()?;
        sysctl::ensure("ipv4/tcp_synack_retries", 1)?;
        let fake = FakePeers::of(family)?;
        let listener = Listener::of(family, PORT, BACKLOG)?;
        let queued = listener.fill(QUEUED, false)?;
        Ok(Self { fake, listener, _queued: queued, late: Vec::new(), recovered: Vec::new() })
    }

    fn happen(mut self) -> Result<Self> {
        self.fake.send_syns(HANDSHAKES, self.listener.loopback())?;
        let mut answers = self.fake.syn_acks(HANDSHAKES.into(), PATIENCE)?;
        let late = answers.split_off(FITTING);
        for answer in &answers {
            self.send(answer, |ack| Segment::Ack { ack })?;
        }
        self.listener.wait_for_queue(FULL)?;
        for answer in late {
            let dropped = Instant::now();
            self.send(&answer, |ack| Segment::Ack { ack })?;
            self.late.push(Late { answer, dropped });
        }
        wait_for(Counter::ListenDrops, OVERFLOWS, Duration::from_secs(5))?;
        Ok(self)
    }

    /// Accepts one connection, and repeats one peer's ACK before its request expires.
    fn let_one_in(mut self) -> Result<Self> {
        let accepted = self.listener.try_accept()?.context("the full accept queue gave no connection")?;
        self.listener.wait_for_queue(FULL - 1)?;
        let lucky = self.late.remove(0);
        self.send(&lucky.answer, |ack| Segment::Ack { ack })?;
        self.listener.wait_for_queue(FULL)?;
        self.recovered.push((lucky, accepted));
        Ok(self)
    }

    fn wait_until_given_up(self) -> Result<Self> {
        let deadline = Instant::now() + REQUEST_LIVES_LESS_THAN;
        while TcpTable::read()?.count(PORT, State::SynReceived).servers > 0 {
            if Instant::now() > deadline {
                bail!("the listener keeps requests for more than {} s", REQUEST_LIVES_LESS_THAN.as_secs());
            }
            thread::sleep(Duration::from_millis(20));
        }
        Ok(self)
    }

    /// Sends data from the other peers after their requests expired, then an ACK from a stranger.
    /// Returns the time between the drop of each peer's ACK and its data.
    fn speak_too_late(self) -> Result<(Self, Vec<(SocketAddr, Duration)>)> {
        let mut ages = Vec::new();
        for late in &self.late {
            ages.push((late.answer.to, late.dropped.elapsed()));
            self.send(&late.answer, |ack| Segment::Data { ack })?;
        }
        wait_for(Counter::OutRsts, EXPIRED, Duration::from_secs(5))?;
        self.fake.send(self.stranger(), self.listener.loopback(), Segment::Ack { ack: 1 })?;
        wait_for(Counter::OutRsts, EXPIRED + 1, Duration::from_secs(5))?;
        Ok((self, ages))
    }

    fn send(&self, answer: &SynAck, segment: impl Fn(u32) -> Segment) -> Result<()> {
        self.fake.send(answer.to, answer.from, segment(answer.sequence.wrapping_add(1)))
    }

    /// A port that never took part in a handshake, on a host that did.
    fn stranger(&self) -> SocketAddr {
        SocketAddr::new(self.fake.peer(0).ip(), self.fake.peer(HANDSHAKES).port())
    }

    /// Adds the expectations at the end of the incident.
    fn expectation(self, expectation: Expectation) -> Expectation {
        let peer = |late: &Late| late.answer.to;
        let expired: Vec<_> = self.late.iter().map(peer).collect();
        let dropped = self.recovered.iter().map(|(late, _)| peer(late)).chain(expired.clone()).collect();
        let reset = |cause, peers: Vec<SocketAddr>| ExpectedEvents {
            kind: EventKind::Reset,
            cause,
            stages: stage::ANY,
            port: PORT,
            at_least: peers.len(),
            peers,
            accept_queue: None,
            syn_queue: None,
        };
        Expectation {
            kernel: vec![
                (Counter::ListenOverflows, Amount::Exactly(OVERFLOWS)),
                (Counter::ListenDrops, Amount::All(Counter::ListenOverflows)),
                (Counter::EmbryonicRsts, Amount::Exactly(0)),
                (Counter::OutRsts, Amount::Exactly(EXPIRED + 1)),
            ],
            listeners: vec![ExpectedListener {
                address: self.listener.address(),
                drops: vec![Share {
                    cause: cause::ACCEPT_QUEUE_FULL,
                    stages: stage::ACK,
                    amount: Amount::Exactly(OVERFLOWS),
                }],
                resets: Some(vec![
                    (cause::EXPIRED_HANDSHAKE, Amount::Exactly(EXPIRED)),
                    (cause::UNKNOWN_CONNECTION, Amount::Exactly(1)),
                ]),
                sole: true,
            }],
            events: Some(vec![
                ExpectedEvents {
                    kind: EventKind::Drop,
                    accept_queue: Some(QueueState { length: 10..=10, limit: 9 }),
                    stages: stage::ACK,
                    ..reset(cause::ACCEPT_QUEUE_FULL, dropped)
                },
                reset(cause::EXPIRED_HANDSHAKE, expired),
                reset(cause::UNKNOWN_CONNECTION, vec![self.stranger()]),
            ]),
            open: vec![Box::new(self)],
            ..expectation
        }
    }
}

fn resets(seen: &Observation) -> impl Iterator<Item = &Event> {
    seen.events.iter().filter(|event| event.kind == EventKind::Reset && event.port == Some(PORT))
}

/// The age in netqueue's event of the reset of `peer`.
fn age(seen: &Observation, peer: SocketAddr) -> Option<f64> {
    let of_peer = |event: &&Event| event.peer.as_ref().is_some_and(|other| other.address() == peer);
    resets(seen).find(of_peer)?.age_seconds
}

/// Compares netqueue's ages with the measured ones, and reports ages of packets that have none.
fn wrong_ages(measured: &[(SocketAddr, Duration)], seen: &Observation) -> Vec<String> {
    let wrong = |(peer, age_measured): &(SocketAddr, Duration)| {
        let (said, measured) = (age(seen, *peer), age_measured.as_secs_f64());
        let right = said.is_some_and(|said| (said - measured).abs() <= TOLERANCE.as_secs_f64());
        (!right).then(|| format!("{peer}: reset {measured:.3} s after the drop, netqueue says {said:?} s"))
    };
    let invented = |event: &Event| {
        let strange = event.cause != cause::EXPIRED_HANDSHAKE && event.age_seconds.is_some();
        strange.then(|| format!("an age of {:?} s for {event}", event.age_seconds))
    };
    measured.iter().filter_map(wrong).chain(resets(seen).filter_map(invented)).collect()
}

fn compared_ages(measured: &[(SocketAddr, Duration)], seen: &Observation) -> String {
    let largest = |ages: &mut dyn Iterator<Item = f64>| ages.fold(0.0, f64::max);
    let lab = largest(&mut measured.iter().map(|(_, age)| age.as_secs_f64()));
    let said = largest(&mut measured.iter().filter_map(|(peer, _)| age(seen, *peer)));
    format!(
        "the last late packet came {lab:.2} s after the drop of its final ACK; netqueue says {said:.2} s at most"
    )
}
