//! Cache of handshakes whose final ACK was dropped: clients that give up, and more than fit.

use std::thread;

use anyhow::Result;
use socket2::Socket;

use super::wait_for;
use crate::check;
use crate::counters::{self, Counter};
use crate::expectation::{
    Amount, Expectation, ExpectedListener, Experiment, Fixture, Scenario, Share, cause, stage,
};
use crate::observation::Observation;
use crate::own_daemon::OwnDaemon;
use crate::packet::{Segment, SynAck};
use crate::raw::{FakePeers, peer};
use crate::sockets::{Listener, PATIENCE};
use crate::sysctl;
use crate::watch::Watch;
use netqueue_api::{Ghosts, Handshakes};

pub(super) const GIVING_UP: Experiment = Experiment {
    number: "44",
    name: "clients-give-up",
    incident: "4 cookie ACKs of 6, and 4 final ACKs of 6 on another listener, find the accept queue full; 3 of each 4 clients then send a \
               reset",
    verdict: "one ghost is left and one handshake is unresolved; of the others it is said that the client gave up, and not that they were \
              reset",
    provoke: Scenario::Watching(giving_up),
};

pub(super) const TOO_SMALL: Experiment = Experiment {
    number: "45",
    name: "dropped-ack-cache-too-small",
    incident: "a daemon that remembers 16 handshakes (--dropped-ack-cache-capacity=16), hundreds of cookie ACKs that find the accept queue full, and then \
               every client sends a reset",
    verdict: "every ghost was counted, but few of those that gave up were recognised; the answer says how many may have been forgotten",
    provoke: Scenario::Watching(too_small),
};

const HANDSHAKES: u16 = 6;
const OVERFLOWS: u64 = 4;
const GIVE_UP: u64 = 3;

/// A listener with a full accept queue, and its handshakes that are incomplete or found no room.
struct Overflow {
    listener: Listener,
    queued: Vec<Socket>,
    fake: FakePeers,
    late: Vec<SynAck>,
}

/// Number of handshakes that still find room.
const FITTING: usize = 2;

impl Overflow {
    /// Starts the handshakes; with cookies the kernel keeps nothing of them, otherwise their requests.
    fn prepare(port: u16, cookies: bool, handshakes: u16) -> Result<Self> {
        /// Minimum number of requests that the SYN queue takes.
        const BACKLOG: u32 = 8;
        const AT_ONCE: u16 = 50;
        sysctl::defaults()?;
        sysctl::ensure("ipv4/tcp_syncookies", if cookies { 2 } else { 1 })?;
        let fake = FakePeers::create()?;
        let listener = Listener::ipv4(port, if cookies { 1 } else { BACKLOG as i32 })?;
        let queued = if cookies { Vec::new() } else { listener.fill(BACKLOG - 1, false)? };
        let mut late = Vec::new();
        for first in (0..handshakes).step_by(AT_ONCE.into()) {
            let next = (first + AT_ONCE).min(handshakes);
            for n in first..next {
                fake.send(fake.peer(n), listener.loopback(), Segment::Syn)?;
            }
            late.extend(fake.syn_acks((next - first).into(), PATIENCE)?);
        }
        Ok(Self { listener, queued, fake, late })
    }

    fn finish(mut self) -> Result<Self> {
        let late = self.late.split_off(FITTING);
        for fitting in &self.late {
            self.fake.send_final_ack(fitting)?;
        }
        self.listener.wait_for_queue(self.queued.len() as u32 + FITTING as u32)?;
        let before = counters::of_this_thread()?.get(Counter::ListenOverflows);
        for late in &late {
            self.fake.send_final_ack(late)?;
        }
        wait_for(Counter::ListenOverflows, before + late.len() as u64, PATIENCE)?;
        Ok(Self { late, ..self })
    }

    fn give_up(&self, number: usize) -> Result<()> {
        self.late.iter().take(number).try_for_each(|late| self.fake.send(late.to, late.from, Segment::Rst))
    }
}

fn overflowed(listener: &Listener, stages: &'static [&'static str], drops: u64) -> ExpectedListener {
    ExpectedListener {
        address: listener.address(),
        drops: vec![Share { cause: cause::ACCEPT_QUEUE_FULL, stages, amount: Amount::Exactly(drops) }],
        resets: Some(vec![]),
        sole: false,
    }
}

fn giving_up(fixture: &Fixture<'_>) -> Result<Expectation> {
    let (with_cookies, without) = fixture.netns.run(|| {
        let with_cookies = Overflow::prepare(8044, true, HANDSHAKES)?;
        Ok((with_cookies, Overflow::prepare(8045, false, HANDSHAKES)?))
    })?;
    let ghosts = Watch::begin(fixture, with_cookies.listener.address())?;
    let suspended = Watch::begin(fixture, without.listener.address())?;
    let (with_cookies, without) = fixture.netns.run(move || {
        // The kernel still checks cookies, because it sent some a moment ago.
        Ok((with_cookies.finish()?, without.finish()?))
    })?;
    let mut expectation = Expectation::default();
    let total = OVERFLOWS;
    let seen = Ghosts { live: total, total, ..Ghosts::default() };
    expectation.problems.extend(ghosts.expect("after the drops", |row| row.ghosts, seen)?);
    let kept = Handshakes { suspended: total, unresolved: total, ..Handshakes::default() };
    expectation.problems.extend(suspended.expect("after the drops", |row| row.handshakes, kept)?);

    let (with_cookies, without) = fixture.netns.run(move || {
        with_cookies.give_up(GIVE_UP as usize)?;
        without.give_up(GIVE_UP as usize)?;
        wait_for(Counter::EmbryonicRsts, GIVE_UP, PATIENCE)?;
        Ok((with_cookies, without))
    })?;
    let seen = Ghosts { live: total - GIVE_UP, given_up: GIVE_UP, ..seen };
    expectation.problems.extend(ghosts.expect("after the resets", |row| row.ghosts, seen)?);
    let kept = Handshakes { unresolved: total - GIVE_UP, given_up: GIVE_UP, ..kept };
    expectation.problems.extend(suspended.expect("after the resets", |row| row.handshakes, kept)?);
    expectation.kernel = vec![
        (Counter::ListenDrops, Amount::Exactly(2 * OVERFLOWS)),
        (Counter::EmbryonicRsts, Amount::Exactly(GIVE_UP)),
        (Counter::OutRsts, Amount::Exactly(0)),
    ];
    expectation.listeners = vec![
        overflowed(&with_cookies.listener, stage::COOKIE_ACK, OVERFLOWS),
        overflowed(&without.listener, stage::ACK, OVERFLOWS),
    ];
    expectation.open.push(Box::new((with_cookies, without)));
    Ok(expectation)
}

fn too_small(fixture: &Fixture<'_>) -> Result<Expectation> {
    const CAPACITY: u64 = 16;
    /// The kernel's map keeps 128 entries per CPU beyond its capacity: twice as many certainly overflow it.
    const A_CPU: u16 = 250;
    let cpus = thread::available_parallelism()?.get().clamp(2, 64);
    let many = A_CPU * u16::try_from(cpus)?;
    let dropped = u64::from(many) - FITTING as u64;
    let own = fixture.server.map(|_| OwnDaemon::start(&["--dropped-ack-cache-capacity=16"])).transpose()?;
    let overflow = fixture.netns.run(move || {
        let overflow = Overflow::prepare(8046, true, many)?.finish()?;
        overflow.give_up(usize::from(many))?;
        // All earlier packets have been received once this SYN, which follows them, is dropped.
        overflow.fake.send(peer(many), overflow.listener.loopback(), Segment::Syn)?;
        wait_for(Counter::ListenOverflows, dropped + 1, PATIENCE)?;
        Ok(overflow)
    })?;
    let mut expectation = Expectation {
        kernel: vec![(Counter::ListenDrops, Amount::Exactly(dropped + 1))],
        ..Expectation::default()
    };
    if let Some(own) = own {
        let seen = Observation::of(own.server(), fixture.netns.inode())?;
        expectation.problems.extend(check::residuals(&fixture.netns.counters()?, &seen.sum()));
        let dropped_ack_cache = own.status()?.dropped_ack_cache;
        let row = seen.rows.iter().find(|row| row.is_listener_at(overflow.listener.address()));
        let ghosts = row.map(|row| row.ghosts).unwrap_or_default();
        expectation.measured.push(format!("{ghosts:?}, {dropped_ack_cache:?}"));
        let Ghosts { live, total, given_up, .. } = ghosts;
        if (total, live) != (dropped, dropped - given_up) || dropped_ack_cache.entered != dropped {
            expectation.problems.push(format!("{dropped} ghosts were made"));
        }
        if dropped_ack_cache.capacity != CAPACITY || given_up < CAPACITY || given_up == total {
            expectation.problems.push(format!("of {CAPACITY} that are remembered, {given_up} gave up"));
        }
        // Unrecognised clients were forgotten, and the reported upper bound must not exceed the possible
        // number.
        if dropped_ack_cache.complete
            || dropped_ack_cache.forgotten_at_most < live
            || dropped_ack_cache.forgotten_at_most > dropped - CAPACITY
        {
            expectation
                .problems
                .push(format!("{live} were forgotten, and the answer says {dropped_ack_cache:?}"));
        }
        if !seen.warnings.iter().any(|warning| warning.contains("--dropped-ack-cache-capacity")) {
            expectation.problems.push("the answer does not say that handshakes were forgotten".to_owned());
        }
    }
    expectation.open.push(Box::new(overflow));
    Ok(expectation)
}
