//! Extraction of evidence from a snapshot. Yields one piece for each account that was charged in the
//! window, one for many closed ports of a namespace together, and one for netqueue itself.

use std::{
    collections::{HashMap, HashSet},
    net::IpAddr,
    time::Duration,
};

use super::{Evidence, Group, Overflow, QueueFlow, Refusal, Subject, Visibility, known, last_arrival};
use crate::{
    AccountKey, AccountView, AccountWindow, Counts, DropCause, Endpoint, Event, LossReason, Netns,
    ResetCause, Sample, Snapshot, Timestamp, What,
};

/// Number of closed ports in one namespace above which they are one piece of evidence: a scan.
const PORTS: usize = 8;
/// Maximum number of peers that are counted.
const PEERS: usize = 1024;

/// Returns all evidence from `from` on.
#[must_use]
pub fn evidence(snapshot: &Snapshot, from: Timestamp) -> Vec<Evidence> {
    let window = (from, snapshot.taken);
    let sight = sight(snapshot);
    let events = events(snapshot, from);
    let none = Vec::new();
    let mut all: Vec<Evidence> = Vec::new();
    let mut closed_ports: HashMap<Netns, Vec<Evidence>> = HashMap::new();
    // Aggregates of accounts that ended long ago are evidence of no current problem.
    let over = |account: &AccountView| matches!(account.key, AccountKey::Gone(_));
    for account in snapshot.accounts.iter().filter(|account| !over(account)) {
        let past = snapshot.recent.of(&account.key);
        let counts = past.map_or(account.counts, |past| account.counts.less(past.counts_at(from)));
        if counts == Counts::default() || past.is_none() && account.last_seen < from {
            continue;
        }
        let look = AccountSources {
            snapshot,
            account,
            past,
            events: events.get(&account.key).unwrap_or(&none),
            window,
        };
        let evidence = Evidence { sight: sight.clone(), ..look.evidence(counts) };
        if is_closed_port(&evidence) {
            closed_ports.entry(account.key.netns()).or_default().push(evidence);
        } else {
            all.push(evidence);
        }
    }
    for (netns, ports) in closed_ports {
        if ports.len() > PORTS {
            all.push(together(netns, &ports));
        } else {
            all.extend(ports);
        }
    }
    all.push(Evidence { sight, ..Evidence::of(Subject::Netqueue, window, Counts::default()) });
    all
}

/// Groups the events of the window by account, oldest first.
fn events(snapshot: &Snapshot, from: Timestamp) -> HashMap<AccountKey, Vec<Event>> {
    /// Maximum disorder: the ring orders by CPU, so an event may follow one that is slightly younger.
    const DISORDER: Duration = Duration::from_secs(2);
    let mut by_account: HashMap<_, Vec<Event>> = HashMap::new();
    let held = snapshot.events.of_this_run();
    for event in
        held.take_while(|event| event.time >= from.before(DISORDER)).filter(|event| event.time >= from)
    {
        by_account.entry(event.account).or_default().push(event);
    }
    by_account.values_mut().for_each(|events| events.sort_by_key(|event| event.time));
    by_account
}

/// Sources of the evidence about one account.
struct AccountSources<'a> {
    snapshot: &'a Snapshot,
    account: &'a AccountView,
    past: Option<&'a AccountWindow>,
    events: &'a [Event],
    window: (Timestamp, Timestamp),
}

impl AccountSources<'_> {
    fn evidence(&self, counts: Counts) -> Evidence {
        let Self { snapshot, account, .. } = *self;
        let base = Evidence::of(Subject::Account(account.id, account.key), self.window, counts);
        let listener = known::listener(snapshot, account);
        let backlog = account.queues.accept.map(|queue| queue.limit);
        let refusals = self.refusals();
        let (first, last) = self.drops_between(&refusals);
        let flow = first.zip(last).and_then(|(first, last)| self.flow(first, last));
        let drops = queue_drops(&counts);
        let backlog = listener.backlog.or(backlog);
        let overflow = backlog.filter(|_| overflows(&counts) > 0).map(|limit| Overflow {
            drops,
            most_in_a_second: self.past.map_or(0, |past| past.most_drops_in_a_second(self.window.0)),
            limit,
            flow,
            arriving: first.zip(last_arrival(&refusals)).and_then(|(first, last)| self.flow(first, last)),
            refusals: refusals.clone(),
        });
        let longest = refusals.iter().map(|refusal| refusal.length).max();
        let peak = Some(account.traffic.accept_peak.window).filter(|peak| *peak > 0);
        let stopped = self.past.and_then(|past| known::stopped(snapshot, account, past, self.window.0));
        let ages = self.events.iter().filter_map(|event| event.age);
        Evidence {
            flow,
            accept_peak: longest.max(peak),
            waiting: account.queues.accept.map(|queue| queue.length),
            not_accepting_for: self.not_accepting_for(),
            wait_p99: account.traffic.wait_quantile(0.99),
            backlog,
            bound_by: listener.bound_by,
            listen_argument: listener.listen_argument,
            settings: listener.settings,
            // After a restart, connections to the earlier process are not those of the new one.
            owner: stopped.as_ref().map_or(listener.owner, |stopped| stopped.owner.clone()),
            stopped,
            closed: account.closed.is_some(),
            counterfactual: overflow.and_then(|overflow| overflow.remedy()),
            group: self.group(overflows(&counts)),
            peers: peers(self.events),
            repeated_resets: repeated_resets(self.events),
            ages: ages.clone().min().zip(ages.max()),
            idle_limit: self.idle_limit(),
            ..base
        }
    }

    /// Returns the idle time-out that was inferred for the server.
    fn idle_limit(&self) -> Option<crate::IdleLimit> {
        let (AccountKey::Listener { at, .. } | AccountKey::Endpoint(at)) = self.account.key else {
            return None;
        };
        self.snapshot.idle_limits.get(&(at.netns, at.port)).copied()
    }

    /// Returns the packets that a full queue dropped.
    fn refusals(&self) -> Vec<Refusal> {
        let refused = |event: &Event| match event.what {
            What::Drop(kind) => match kind.cause() {
                DropCause::AcceptQueueFull | DropCause::SynQueueFull => Some(Refusal {
                    at: event.time,
                    peer: event.peer,
                    length: event.queues.accept.map_or(0, |queue| queue.length),
                }),
                DropCause::SynBacklogReserve | DropCause::Other => None,
            },
            What::Reset(_) => None,
        };
        self.events.iter().filter_map(refused).collect()
    }

    /// Returns when the first and the last drop of the window happened.
    fn drops_between(&self, refusals: &[Refusal]) -> (Option<Timestamp>, Option<Timestamp>) {
        let by_event = (refusals.first().map(|first| first.at), refusals.last().map(|last| last.at));
        let Some(past) = self.past else { return by_event };
        let runs = past.runs();
        let rose =
            |(before, run): &(&Sample, &Sample)| run.drops > before.drops && run.since >= self.window.0;
        let rises = || runs.iter().zip(runs.iter().skip(1)).filter(rose);
        let first = by_event.0.or_else(|| rises().next().map(|(before, _)| before.until));
        (first, by_event.1.max(rises().next_back().map(|(_, run)| run.since)))
    }

    /// Returns the connections between two moments, or `None` if they are not counted.
    fn flow(&self, first: Timestamp, last: Timestamp) -> Option<QueueFlow> {
        let runs = self.past?.runs();
        let before = runs.iter().rev().find(|run| run.since <= first).or(runs.front())?;
        let after = runs.iter().find(|run| run.until >= last).or(runs.back())?;
        // A queue that overflowed has been entered: 0 means that entries are not counted.
        (after.entered > 0).then(|| QueueFlow {
            span: after.since.since(before.until).max(last.since(first)),
            entered: after.entered.saturating_sub(before.entered),
            accepted: after.accepted.saturating_sub(before.accepted),
        })
    }

    /// Returns the longest time in which clients were refused, others waited, and none was accepted. Counts
    /// from the first refusal, because before it there may have been no clients.
    fn not_accepting_for(&self) -> Option<Duration> {
        let runs = self.past?.runs();
        if runs.back()?.entered == 0 {
            return None;
        }
        let mut longest = None;
        let mut refused_since: Option<Timestamp> = None;
        for (before, run) in runs.iter().zip(runs.iter().skip(1)) {
            if run.accepted > before.accepted {
                refused_since = None;
            }
            if run.accepted >= run.entered {
                // Nobody waits: the process may be fast and have nothing to do.
                refused_since = None;
            } else if run.drops > before.drops && run.since >= self.window.0 {
                refused_since.get_or_insert(run.since);
            }
            if let Some(since) = refused_since {
                longest = longest.max(Some(run.until.since(since)));
            }
        }
        longest
    }

    /// Returns the other open listeners on the same address and port.
    fn group(&self, mine: u64) -> Option<Group> {
        let AccountKey::Listener { at, .. } = self.account.key else { return None };
        let others = self.snapshot.accounts.iter().filter(|other| {
            let same = matches!(other.key, AccountKey::Listener { at: place, .. } if is_same(place, at));
            same && other.id != self.account.id && other.closed.is_none()
        });
        let mut group = Group { others: 0, well: 0, drops: 0, accepts_known: true };
        for other in others {
            let past = self.snapshot.recent.of(&other.key);
            let counts = past.map_or(other.counts, |past| other.counts.less(past.counts_at(self.window.0)));
            let (dropped, counted) = (overflows(&counts), other.traffic.established > 0);
            group.others += 1;
            group.drops += dropped;
            group.accepts_known &= counted;
            let stuck = counted && other.traffic.accepted == 0;
            group.well += u32::from(!stuck && dropped * 10 < mine);
        }
        (group.others > 0 && self.account.closed.is_none()).then_some(group)
    }
}

fn overflows(counts: &Counts) -> u64 {
    let full = counts.drops().filter(|(kind, _)| kind.cause() == DropCause::AcceptQueueFull);
    full.map(|(_, drops)| drops).sum()
}

fn queue_drops(counts: &Counts) -> u64 {
    let of_syn = counts.drops().filter(|(kind, _)| kind.cause() == DropCause::SynQueueFull);
    overflows(counts) + of_syn.map(|(_, drops)| drops).sum::<u64>()
}

/// Returns whether two listeners have the same namespace, address and port. Ignores the namespace's
/// generation, which may be unknown for a listener that dropped nothing yet.
fn is_same(one: Endpoint, other: Endpoint) -> bool {
    (one.netns.inode, one.addr, one.port) == (other.netns.inode, other.addr, other.port)
}

/// Returns the peers' addresses with the number of their events, most frequent first.
fn peers(events: &[Event]) -> Vec<(IpAddr, u64)> {
    let mut met: HashMap<IpAddr, u64> = HashMap::new();
    for peer in events.iter().filter_map(|event| event.peer) {
        if met.len() < PEERS || met.contains_key(&peer.addr) {
            *met.entry(peer.addr).or_default() += 1;
        }
    }
    let mut met: Vec<_> = met.into_iter().collect();
    met.sort_by(|(one, times), (other, more)| more.cmp(times).then(one.cmp(other)));
    met
}

/// Returns, for each cause of resets, its events beyond the first of each client.
fn repeated_resets(events: &[Event]) -> Vec<(ResetCause, u64)> {
    let of = |event: &Event| match event.what {
        What::Reset(cause) => event.peer.map(|peer| (cause, peer.addr, peer.port)),
        What::Drop(_) => None,
    };
    let mut repeated: HashMap<ResetCause, u64> = HashMap::new();
    let mut met = HashSet::new();
    for client in events.iter().filter_map(of) {
        if !met.insert(client) {
            *repeated.entry(client.0).or_default() += 1;
        }
    }
    repeated.into_iter().collect()
}

/// Returns whether nothing listens on the port: all that came was refused.
fn is_closed_port(evidence: &Evidence) -> bool {
    matches!(evidence.subject, Subject::Account(_, AccountKey::Endpoint(_)))
        && [ResetCause::NoListener, ResetCause::NoConnection, ResetCause::Again]
            .map(|cause| evidence.resets(cause))
            .iter()
            .sum::<u64>()
            == evidence.counts.reset_total()
        && evidence.counts.drop_total() == 0
}

/// Merges the evidence of many closed ports.
fn together(netns: Netns, ports: &[Evidence]) -> Evidence {
    let mut counts = Counts::default();
    let mut peers: HashMap<IpAddr, u64> = HashMap::new();
    for port in ports {
        counts.add(&port.counts);
        port.peers.iter().for_each(|(peer, times)| *peers.entry(*peer).or_default() += times);
    }
    let mut peers: Vec<_> = peers.into_iter().collect();
    peers.sort_by(|(one, times), (other, more)| more.cmp(times).then(one.cmp(other)));
    let (window, sight) = ports.first().map(|port| (port.window, port.sight.clone())).unwrap_or_default();
    let base = Evidence::of(Subject::Namespace(netns), window, counts);
    Evidence { ports: ports.len() as u64, peers, sight, ..base }
}

fn sight(snapshot: &Snapshot) -> Visibility {
    let health = &snapshot.health;
    let unattached =
        health.probes.iter().filter(|probe| !probe.attached).map(|probe| probe.function.clone()).collect();
    let missed = health.probes.iter().filter_map(|probe| probe.missed).sum();
    let charges = |reason: &LossReason| match reason {
        LossReason::RingFull
        | LossReason::Undecodable
        | LossReason::QueuedForgotten
        | LossReason::CallerHidden => false,
        LossReason::Unreadable
        | LossReason::EntryMissed
        | LossReason::ReturnMissed
        | LossReason::WrongFrame
        | LossReason::BaselinesFull
        | LossReason::MovedElsewhere
        | LossReason::MapFull => true,
    };
    let lost_charges =
        LossReason::ALL.iter().filter(|reason| charges(reason)).map(|reason| health.flow.lost(*reason)).sum();
    let residuals = snapshot.balances().flat_map(|balance| balance.counters.iter());
    let residual = residuals.map(|(_, counter)| counter.residual.unsigned_abs()).sum();
    let obstacles = health.obstacles.iter().copied().filter(|obstacle| obstacle.hides_charges()).collect();
    Visibility { unattached, missed, lost_charges, residual, obstacles }
}
