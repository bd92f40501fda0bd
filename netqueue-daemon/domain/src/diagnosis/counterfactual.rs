//! Counterfactual backlog: the smallest one under which no client would have been refused, if any.
//!
//! Each drop reports the length of the accept queue at that moment, and the refused client. Had there been
//! room, all clients waiting outside would have been inside: the longest queue would have been the maximum of
//! `inside + outside` over all drops. A refused client tries again and is dropped again or admitted, so it is
//! outside from its first drop until its next try after its last drop. Clients whose time-out ends before that
//! try never come back: where next to no drop is a repetition, they are counted as gone.

use std::{collections::HashMap, time::Duration};

use crate::{Peer, Timestamp};

use super::Confidence;

/// Delay before a client first retries a SYN, and before a listener first retries a SYN-ACK.
const FIRST_RETRY: Duration = Duration::from_secs(1);
/// Shortest overload: drops over less time are a burst, whatever their rates.
const SHORTEST_OVERLOAD: Duration = Duration::from_secs(10);
/// Ratio of arrivals to accepts from which on it is an overload rather than a coincidence.
const OVERLOADED: f64 = 1.1;
/// Part of an overload in which the process may have caught up, as a divisor.
/// Bursts that follow each other leave it more.
const CAUGHT_UP: u32 = 4;
/// Divisor of the smallest backlog that gives the margin of the proposed one: no two bursts are alike.
const MARGIN: u32 = 16;

/// Packet that was dropped because a queue was full.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// Time of the drop.
    pub at: Timestamp,
    /// Client that sent the packet, if known.
    pub peer: Option<Peer>,
    /// Length of the accept queue at that moment.
    pub length: u32,
}

/// Period in which a listener refused clients.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Overflow {
    /// Drops that have an event, in order of time.
    pub refusals: Vec<Refusal>,
    /// Actual number of drops: events may be missing, counts are not.
    pub drops: u64,
    /// Maximum number of drops within one second. No client is dropped twice in so short a time, so each is
    /// a different client.
    pub most_in_a_second: u64,
    /// Backlog in force.
    pub limit: u32,
    /// Connections through the accept queue between first and last drop, if counted.
    pub flow: Option<QueueFlow>,
    /// Periods in which drops followed each other, oldest first.
    pub episodes: Vec<Episode>,
    /// Progress of the latest of them.
    pub stage: Stage,
}

/// Period in which drops followed each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Episode {
    /// First drop.
    pub from: Timestamp,
    /// Last drop.
    pub to: Timestamp,
    /// Connections through the accept queue from the first drop until [`last_arrival`], if counted.
    pub arriving: Option<QueueFlow>,
    /// Time in that period in which nobody waited: the process had caught up.
    pub caught_up: Duration,
}

/// Progress of an overflow, which decides how much can be concluded from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Began so recently that a burst and an overload look the same.
    Early,
    /// Goes on: an overload may still show.
    Running,
    /// Nothing was dropped for a while, or the listener is closed.
    Over,
}

/// Returns when the last of the refused clients was refused for the first time.
#[must_use]
pub fn last_arrival(refusals: &[Refusal]) -> Option<Timestamp> {
    tries(refusals).into_values().map(|tries| tries.first).max()
}

/// Connections through an accept queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QueueFlow {
    /// Duration of the period.
    pub span: Duration,
    /// Connections that entered the queue.
    pub entered: u64,
    /// Connections that accept() took out.
    pub accepted: u64,
}

/// Change that would have avoided the refusals.
#[derive(Clone, Debug, PartialEq)]
pub enum Remedy {
    /// A longer queue.
    Backlog {
        /// Smallest backlog that would have been enough.
        smallest: u32,
        /// Backlog to set: a little more than the smallest.
        proposed: u32,
        /// Longest wait for accept() in such a queue; `None` if the process accepted nothing.
        longest_wait: Option<Duration>,
    },
    /// A faster process: no queue is long enough while more connections arrive than leave.
    Faster {
        /// New connections per second.
        arrivals: f64,
        /// Connections accepted per second.
        accepts: f64,
    },
    /// Not known yet: it is too early to tell a burst from an overload.
    TooEarly,
}

/// A remedy and its basis.
#[derive(Clone, Debug, PartialEq)]
pub struct Counterfactual {
    /// Change that would have avoided the refusals.
    pub remedy: Remedy,
    /// Distinct clients that were refused; a lower bound if events are missing.
    pub refused: u64,
    /// True if the refused clients did not try again.
    pub clients_gave_up: bool,
    /// Confidence in the remedy.
    pub confidence: Confidence,
    /// Assumptions made, in words.
    pub assumptions: Vec<String>,
}

impl Overflow {
    /// Returns the remedy, or `None` if nothing was refused.
    #[must_use]
    pub fn remedy(&self) -> Option<Counterfactual> {
        let crowd = Crowd::of(&self.refusals, self.flow);
        let complete = self.refusals.len() as u64 >= self.drops && crowd.nameless == 0;
        // Where events are missing, the most drops within one second count as clients outside at once.
        let counted = if complete { 0 } else { u32::try_from(self.most_in_a_second).unwrap_or(u32::MAX) };
        let longest = crowd.longest.max((self.limit.saturating_add(1)).saturating_add(counted));
        if crowd.clients == 0 && counted == 0 {
            return None;
        }
        // An accept queue takes one connection more than its limit.
        let smallest = longest.saturating_sub(1);
        let mut assumptions = vec![
            "each client that was turned away would have connected at its first attempt".to_owned(),
            "the process would have accepted connections at the same rate".to_owned(),
        ];
        let mut confidence = Confidence::High;
        if !complete {
            confidence = Confidence::Medium;
            assumptions.push(format!(
                "only {} of {} drops have an event: the clients are counted by the most drops within one second",
                self.refusals.len(),
                self.drops
            ));
        }
        if self.flow.is_none() {
            confidence = Confidence::Low;
            assumptions.push("the rate at which the process accepted is not known".to_owned());
        }
        let overload = self.episodes.iter().rev().find_map(|episode| self.overload(episode));
        if crowd.gives_up {
            assumptions
                .push("the clients that were turned away once and did not come back are gone".to_owned());
        }
        if self.flow.is_some_and(|flow| flow.accepted == 0) {
            assumptions.push(
                "the process accepted nothing meanwhile: a longer queue only keeps clients waiting"
                    .to_owned(),
            );
        }
        let backlog = || Remedy::Backlog {
            smallest,
            proposed: smallest.saturating_add(smallest.div_ceil(MARGIN)),
            longest_wait: self.flow.and_then(|flow| {
                let seconds = f64::from(longest) / self.busy(flow).accepts_per_second()?;
                Duration::try_from_secs_f64(seconds).ok()
            }),
        };
        let remedy = match (overload, self.stage) {
            (Some(overload), Stage::Early | Stage::Running | Stage::Over) => overload,
            (None, Stage::Early) => {
                confidence = Confidence::Low;
                Remedy::TooEarly
            }
            (None, Stage::Running) => {
                // More clients than so far may come.
                confidence = confidence.min(Confidence::Medium);
                backlog()
            }
            (None, Stage::Over) => backlog(),
        };
        let refused = if complete { crowd.clients } else { crowd.clients.max(self.most_in_a_second) };
        Some(Counterfactual { remedy, refused, clients_gave_up: crowd.gives_up, confidence, assumptions })
    }

    /// Returns the flow over the time in which somebody waited.
    /// A process accepts no faster than clients come, and could do so while nobody waits.
    fn busy(&self, flow: QueueFlow) -> QueueFlow {
        /// Part of the time that counts in any case, as a divisor: samples are coarse.
        const LEAST: u32 = 10;
        let idle: Duration = self.episodes.iter().map(|episode| episode.caught_up).sum();
        QueueFlow { span: flow.span.saturating_sub(idle).max(flow.span / LEAST), ..flow }
    }

    /// Returns the rates of an episode in which more connections arrived than were accepted.
    fn overload(&self, episode: &Episode) -> Option<Remedy> {
        let within = |refusal: &&Refusal| refusal.at >= episode.from && refusal.at <= episode.to;
        let refusals: Vec<_> = self.refusals.iter().filter(within).copied().collect();
        let flow = episode.arriving.filter(|flow| flow.span >= SHORTEST_OVERLOAD)?;
        let crowd = Crowd::of(&refusals, Some(flow));
        let (arrivals, accepts) = crowd.rates(flow);
        let behind = episode.caught_up * CAUGHT_UP < flow.span;
        let overload = behind && crowd.keeps_coming() && flow.accepted > 0 && arrivals > accepts * OVERLOADED;
        overload.then_some(Remedy::Faster { arrivals, accepts })
    }
}

impl QueueFlow {
    /// Returns the connections accepted per second, or `None` if there were none.
    #[must_use]
    pub fn accepts_per_second(&self) -> Option<f64> {
        let per_second = self.accepted as f64 / self.span.as_secs_f64();
        (per_second.is_finite() && per_second > 0.0).then_some(per_second)
    }
}

/// Clients that were refused.
struct Crowd {
    /// Number of distinct clients.
    clients: u64,
    /// Number of drops whose client is unknown.
    nameless: u64,
    /// Maximum of connections inside and clients outside at once.
    longest: u32,
    /// Number of clients that were admitted while others still came.
    let_in: u64,
    /// Number of clients that first came in the second half of the period.
    late: u64,
    /// True if clients do not come back after a drop, as the time-out of most ends before that.
    gives_up: bool,
}

/// Tries of one client that were dropped.
struct Tries {
    first: Timestamp,
    last: Timestamp,
    before_last: Option<Timestamp>,
    number: u32,
}

/// Groups the refusals by client.
fn tries(refusals: &[Refusal]) -> HashMap<(std::net::IpAddr, u16), Tries> {
    let mut clients = HashMap::new();
    for Refusal { at, peer, .. } in refusals {
        let Some(Peer { addr, port }) = *peer else { continue };
        let tries = clients.entry((addr, port)).or_insert(Tries {
            first: *at,
            last: *at,
            before_last: None,
            number: 0,
        });
        tries.number += 1;
        if *at > tries.last {
            tries.before_last = Some(tries.last);
            tries.last = *at;
        }
    }
    clients
}

impl Tries {
    /// Number of drops after which a client is assumed to have given up. With fewer drops it is assumed to
    /// have been admitted at its next try.
    const GIVEN_UP: u32 = 5;

    /// Returns the latest time of the client's next try after its last drop. Pauses between tries double,
    /// or stay the same on kernels from 6.5 on.
    fn until(&self) -> Timestamp {
        let pause =
            self.before_last.map_or(FIRST_RETRY, |before| (2 * self.last.since(before)).max(FIRST_RETRY));
        self.last.after(pause)
    }
}

impl Crowd {
    fn of(refusals: &[Refusal], flow: Option<QueueFlow>) -> Self {
        let clients = tries(refusals);
        let gives_up = gives_up(refusals, clients.values(), flow);
        let named = refusals.iter().filter(|refusal| refusal.peer.is_some()).count() as u64;
        let last = last_arrival(refusals);
        let middle = refusals.first().zip(last).map(|(first, last)| first.at.after(last.since(first.at) / 2));
        let late = clients.values().filter(|tries| Some(tries.first) > middle).count() as u64;
        let back = |tries: &&Tries| tries.number < Tries::GIVEN_UP && (tries.number > 1 || !gives_up);
        let let_in = |tries: &&Tries| back(tries) && Some(tries.until()) <= last;
        Self {
            clients: clients.len() as u64,
            nameless: refusals.len() as u64 - named,
            longest: longest(refusals, clients.values(), gives_up),
            let_in: clients.values().filter(let_in).count() as u64,
            late,
            gives_up,
        }
    }

    /// Returns whether new clients came until the end, rather than the same ones again.
    const fn keeps_coming(&self) -> bool {
        self.late * 4 >= self.clients && self.clients > 0
    }

    /// Returns new clients and accepts per second; a client admitted after a refusal counts once.
    fn rates(&self, flow: QueueFlow) -> (f64, f64) {
        let seconds = flow.span.as_secs_f64();
        let came = (self.clients + flow.entered).saturating_sub(self.let_in);
        (came as f64 / seconds, flow.accepted as f64 / seconds)
    }
}

/// Returns whether clients give up after a drop rather than try again.
///
/// A client that tries again while the queue is full is dropped again as often as others are. Its next try
/// is expected at a known time, so where many tries should have been dropped and next to none was, the clients
/// were gone. Tries that fall into a time without drops say nothing: they got in.
fn gives_up<'a>(
    refusals: &[Refusal],
    clients: impl Iterator<Item = &'a Tries>,
    flow: Option<QueueFlow>,
) -> bool {
    /// Repeated drops that must be missing before anything is concluded.
    const ENOUGH: f64 = 3.0;
    /// Repeated drops are next to none if there are fewer than one for so many that were to be expected.
    const NEXT_TO_NONE: f64 = 10.0;
    /// Tolerance of the time of a next try: timers of the kernel fire late, and samples are coarse.
    const AROUND: (Duration, Duration) = (Duration::from_millis(500), Duration::from_millis(1500));
    let Some(flow) = flow else { return false };
    let dropped = refusals.len() as f64 / (refusals.len() as f64 + flow.entered as f64);
    let (mut again, mut repeated) = (Vec::new(), 0.0);
    for tries in clients {
        again.push(tries.first.after(FIRST_RETRY));
        repeated += f64::from(u8::from(tries.number > 1));
    }
    again.sort_unstable();
    let expected: f64 = again
        .iter()
        .map(|next| {
            let (start, end) = (next.before(AROUND.0), next.after(AROUND.1));
            let drops = refusals.partition_point(|refusal| refusal.at <= end)
                - refusals.partition_point(|refusal| refusal.at < start);
            let tries = again.partition_point(|at| *at <= end) - again.partition_point(|at| *at < start);
            // Of those that tried at about that time, most may have got in.
            dropped.min(drops as f64 / (drops + tries) as f64)
        })
        .sum();
    expected >= ENOUGH && repeated * NEXT_TO_NONE < expected
}

/// Returns the maximum of connections inside and clients outside at once.
///
/// Clients that gave up would have been inside, too, and for how long is not known: they count until the
/// end.
fn longest<'a>(refusals: &[Refusal], clients: impl Iterator<Item = &'a Tries>, gives_up: bool) -> u32 {
    let gone = |tries: &Tries| gives_up && tries.number == 1;
    let mut moves: Vec<(Timestamp, i64)> = clients
        .flat_map(|tries| [Some((tries.first, 1)), (!gone(tries)).then(|| (tries.until(), -1))])
        .flatten()
        .collect();
    moves.sort_unstable();
    let (mut outside, mut longest) = (0_i64, 0);
    let mut moves = moves.into_iter().peekable();
    for refusal in refusals {
        while let Some((_, step)) = moves.next_if(|(at, _)| *at <= refusal.at) {
            outside += step;
        }
        longest = longest.max(i64::from(refusal.length) + outside);
    }
    u32::try_from(longest).unwrap_or(0)
}
