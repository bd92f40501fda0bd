//! What if the backlog had been larger: the smallest one under which nobody would have been refused, or that none would do.
//!
//! Each drop tells how long the accept queue was at that moment, and who was refused. Had there been room, everybody who
//! was waiting outside then would have been inside: the longest the queue would have become is the most of
//! `inside + outside` over all drops. Who is refused tries again and is dropped again or let in, so that one is outside
//! from its first drop until its next try after its last.

use std::{collections::HashMap, time::Duration};

use crate::{Peer, Timestamp};

use super::Confidence;

/// A client's first retry of a SYN, and a listener's of a SYN-ACK, comes after this long.
const FIRST_RETRY: Duration = Duration::from_secs(1);
/// A shorter time of drops is a burst, whatever the rates in it.
const SHORTEST_OVERLOAD: Duration = Duration::from_secs(10);
/// More arrivals than accepts by this factor are an overload rather than a coincidence.
const OVERLOADED: f64 = 1.1;
/// What is proposed exceeds the smallest that would have done by one in so many: no two bursts are alike.
const MARGIN: u32 = 16;

/// A packet that was dropped because a queue was full.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// When.
    pub at: Timestamp,
    /// Whose.
    pub peer: Option<Peer>,
    /// The length of the accept queue at that moment.
    pub length: u32,
}

/// What is known of the time in which a listener refused clients.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Overflow {
    /// What was dropped, in the order of time.
    pub refusals: Vec<Refusal>,
    /// How many were dropped in truth: events may be missing, counts are not.
    pub drops: u64,
    /// The most that was dropped within one second: no client is dropped twice in so short a time.
    pub most_in_a_second: u64,
    /// The backlog in force.
    pub limit: u32,
    /// Connections that entered the accept queue, and those taken out of it, between first and last drop, where known.
    pub flow: Option<Flow>,
    /// The same, but only until the last drop of a client that had not been dropped before ([`last_arrival`]).
    pub arriving: Option<Flow>,
}

/// When the last of the clients that were refused was refused for the first time.
#[must_use]
pub fn last_arrival(refusals: &[Refusal]) -> Option<Timestamp> {
    tries(refusals).into_values().map(|tries| tries.first).max()
}

/// Connections through an accept queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Flow {
    /// Over how long.
    pub span: Duration,
    /// Entered it.
    pub entered: u64,
    /// Were taken out by accept().
    pub accepted: u64,
}

/// What would have helped.
#[derive(Clone, Debug, PartialEq)]
pub enum Remedy {
    /// A longer queue.
    Backlog {
        /// The smallest that would have done.
        smallest: u32,
        /// What to set: a little more.
        proposed: u32,
        /// How long the last of them would have waited for accept(), where the process accepted anything.
        longest_wait: Option<Duration>,
    },
    /// No queue is long enough for more that comes than goes.
    Faster {
        /// New connections per second.
        arrivals: f64,
        /// Taken by the process per second.
        accepts: f64,
    },
}

/// A remedy and what it rests on.
#[derive(Clone, Debug, PartialEq)]
pub struct Counterfactual {
    /// What would have helped.
    pub remedy: Remedy,
    /// Distinct clients that were refused, each once.
    pub refused: u64,
    /// How far it is to be trusted.
    pub confidence: Confidence,
    /// What was assumed.
    pub assumptions: Vec<String>,
}

impl Overflow {
    /// What would have helped; `None` where nothing was refused.
    #[must_use]
    pub fn remedy(&self) -> Option<Counterfactual> {
        let crowd = Crowd::of(&self.refusals);
        let complete = self.refusals.len() as u64 >= self.drops && crowd.nameless == 0;
        // Of the events that are missing, so many were at once, and none of them of one client twice.
        let counted = if complete { 0 } else { u32::try_from(self.most_in_a_second).unwrap_or(u32::MAX) };
        let longest = crowd.longest.max((self.limit.saturating_add(1)).saturating_add(counted));
        if crowd.clients == 0 && counted == 0 {
            return None;
        }
        // An accept queue holds one more than its limit.
        let smallest = longest.saturating_sub(1);
        let mut assumptions = vec![
            "a client that was refused would have come once, at its first try".to_owned(),
            "the process would have accepted as fast as it did".to_owned(),
        ];
        let mut confidence = Confidence::High;
        if !complete {
            confidence = Confidence::Medium;
            assumptions.push(format!(
                "{} of {} drops have an event: clients are counted by the most drops within one second",
                self.refusals.len(),
                self.drops
            ));
        }
        if self.flow.is_none() {
            confidence = Confidence::Low;
            assumptions.push("how fast it accepted is not known".to_owned());
        }
        let overload = self.arriving.filter(|flow| crowd.keeps_coming() && flow.span >= SHORTEST_OVERLOAD);
        let remedy = overload.and_then(|flow| {
            let (arrivals, accepts) = crowd.rates(flow);
            let overload = flow.accepted > 0 && arrivals > accepts * OVERLOADED;
            overload.then_some(Remedy::Faster { arrivals, accepts })
        });
        if self.flow.is_some_and(|flow| flow.accepted == 0) {
            assumptions
                .push("it accepted nothing meanwhile: a longer queue only keeps clients waiting".to_owned());
        }
        let remedy = remedy.unwrap_or_else(|| Remedy::Backlog {
            smallest,
            proposed: smallest.saturating_add(smallest.div_ceil(MARGIN)),
            longest_wait: self.flow.and_then(|flow| {
                let seconds = f64::from(longest) / flow.accepts_per_second()?;
                Duration::try_from_secs_f64(seconds).ok()
            }),
        });
        let refused = if complete { crowd.clients } else { crowd.clients.max(self.most_in_a_second) };
        Some(Counterfactual { remedy, refused, confidence, assumptions })
    }
}

impl Flow {
    /// How fast the process took connections; `None` where it took none.
    #[must_use]
    pub fn accepts_per_second(&self) -> Option<f64> {
        let per_second = self.accepted as f64 / self.span.as_secs_f64();
        (per_second.is_finite() && per_second > 0.0).then_some(per_second)
    }
}

/// The clients that were refused.
struct Crowd {
    /// How many.
    clients: u64,
    /// Drops of which the client is not known.
    nameless: u64,
    /// The most that were inside and outside at once.
    longest: u32,
    /// Of the clients: those that were let in while others still came.
    let_in: u64,
    /// Of the clients: those that came in the second half of the time.
    late: u64,
}

/// When one client was dropped.
struct Tries {
    first: Timestamp,
    last: Timestamp,
    before_last: Option<Timestamp>,
    number: u32,
}

/// The tries of each client.
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
    /// Who is refused so often is taken to have given up, others to have been let in at their next try.
    const GIVEN_UP: u32 = 5;

    /// When its next try after its last drop came at the latest: pauses double (or stay, from 6.5 on).
    fn until(&self) -> Timestamp {
        let pause =
            self.before_last.map_or(FIRST_RETRY, |before| (2 * self.last.since(before)).max(FIRST_RETRY));
        self.last.after(pause)
    }
}

impl Crowd {
    fn of(refusals: &[Refusal]) -> Self {
        let clients = tries(refusals);
        let named = refusals.iter().filter(|refusal| refusal.peer.is_some()).count() as u64;
        let last = last_arrival(refusals);
        let middle = refusals.first().zip(last).map(|(first, last)| first.at.after(last.since(first.at) / 2));
        let late = clients.values().filter(|tries| Some(tries.first) > middle).count() as u64;
        let let_in = |tries: &&Tries| tries.number < Tries::GIVEN_UP && Some(tries.until()) <= last;
        Self {
            clients: clients.len() as u64,
            nameless: refusals.len() as u64 - named,
            longest: longest(refusals, clients.values()),
            let_in: clients.values().filter(let_in).count() as u64,
            late,
        }
    }

    /// Whether new clients came until the end, rather than the same ones again.
    const fn keeps_coming(&self) -> bool {
        self.late * 4 >= self.clients && self.clients > 0
    }

    /// New clients and accepts per second: who was let in after a refusal has come once.
    fn rates(&self, flow: Flow) -> (f64, f64) {
        let seconds = flow.span.as_secs_f64();
        let came = (self.clients + flow.entered).saturating_sub(self.let_in);
        (came as f64 / seconds, flow.accepted as f64 / seconds)
    }
}

/// The most that were inside and outside at once.
fn longest<'a>(refusals: &[Refusal], clients: impl Iterator<Item = &'a Tries>) -> u32 {
    let mut moves: Vec<(Timestamp, i64)> =
        clients.flat_map(|tries| [(tries.first, 1), (tries.until(), -1)]).collect();
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
