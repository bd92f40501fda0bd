//! Extraction of evidence from a snapshot. Yields one piece for each account that was charged in the
//! window, one for many closed ports of a namespace together, and one for netqueue itself.

use std::{
    collections::{HashMap, HashSet},
    net::IpAddr,
    time::Duration,
};

use super::{
    Accepting, Elsewhere, Episode, Evidence, Group, Overflow, QueueFlow, Refusal, Stage, Subject, Visibility,
    closed_ports, ended::EndedConnections, known, last_arrival, neighbours,
};
use crate::{
    AccountKey, AccountView, AccountWindow, BesideCounter, Counts, DropCause, Endpoint, Event, LossReason,
    Netns, ResetCause, Serving, Snapshot, Timestamp, What,
};

/// Maximum number of peers that are counted.
const PEERS: usize = 1024;

/// Returns all evidence from `from` on.
#[must_use]
pub fn evidence(snapshot: &Snapshot, from: Timestamp) -> Vec<Evidence> {
    let window = (from, snapshot.taken);
    let sight = sight(snapshot);
    let events = events(snapshot, from);
    let ended = EndedConnections::of(events.values().flatten());
    let none = Vec::new();
    let mut all: Vec<Evidence> = Vec::new();
    let mut closed_ports: HashMap<Netns, Vec<Evidence>> = HashMap::new();
    // Aggregates of accounts that ended long ago are evidence of no current problem.
    let over = |account: &AccountView| matches!(account.key, AccountKey::Gone(_));
    let serving = Serving::new(snapshot.accounts.iter().map(|account| &**account));
    for account in snapshot.accounts.iter().filter(|account| !over(account)) {
        let past = snapshot.recent.of(&account.key);
        let counts = past.map_or(account.counts, |past| account.counts.less(past.counts_at(from)));
        let accepting = past.map(|past| accepting(snapshot, account, past, from)).unwrap_or_default();
        let charged = counts != Counts::default() && (past.is_some() || account.last_seen >= from);
        if !charged && !accepting.is_notable() {
            continue;
        }
        let look = AccountSources {
            snapshot,
            account,
            past,
            events: events.get(&account.key).unwrap_or(&none),
            ended: &ended,
            window,
        };
        let evidence = Evidence { sight: sight.clone(), accepting, ..look.evidence(counts) };
        if closed_ports::is_one(&evidence) && evidence.stopped.is_none() {
            let evidence = Evidence { elsewhere: elsewhere(&serving, &account.key), ..evidence };
            closed_ports.entry(account.key.netns()).or_default().push(evidence);
        } else {
            all.push(evidence);
        }
    }
    for (netns, ports) in closed_ports {
        all.extend(closed_ports::grouped(netns, ports));
    }
    all.push(Evidence { sight, ..Evidence::of(Subject::Netqueue, window, Counts::default()) });
    all
}

/// Returns the stalls and waits of a listener, if accepts are counted. Nothing goes on after the close.
fn accepting(snapshot: &Snapshot, account: &AccountView, past: &AccountWindow, from: Timestamp) -> Accepting {
    if !snapshot.health.features.accept_wait {
        return Accepting::default();
    }
    let end = account.closed.unwrap_or(snapshot.taken);
    Accepting::of(past.runs(), (from, end), account.closed.is_some())
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
    ended: &'a EndedConnections,
    window: (Timestamp, Timestamp),
}

impl AccountSources<'_> {
    fn evidence(&self, counts: Counts) -> Evidence {
        let Self { snapshot, account, .. } = *self;
        let base = Evidence::of(Subject::Account(account.id, account.key), self.window, counts);
        let listener = known::listener(snapshot, account);
        let backlog = account.queues.accept.map(|queue| queue.limit);
        let refusals = self.refusals();
        let episodes = self.episodes(&refusals);
        let dropped = episodes.last().map(|episode| (episode.from, episode.to));
        let first = episodes.first().map(|episode| episode.from);
        let flow = first.zip(dropped).and_then(|(first, (_, last))| self.flow(first, last));
        let drops = queue_drops(&counts);
        let backlog = listener.backlog.or(backlog);
        let overflow = backlog.filter(|_| overflows(&counts) > 0).map(|limit| Overflow {
            drops,
            most_in_a_second: self.past.map_or(0, |past| past.most_drops_in_a_second(self.window.0)),
            limit,
            flow,
            stage: self.stage(dropped),
            episodes,
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
            dropped,
            last_charge: self.past.map(AccountWindow::last_charged),
            wait_p99: account.traffic.wait_quantile(0.99),
            backlog,
            bound_by: listener.bound_by,
            listen_argument: listener.listen_argument,
            settings: listener.settings,
            shares_port: listener.shares_port,
            // After a restart, connections to the earlier process are not those of the new one.
            owner: stopped.as_ref().map_or(listener.owner, |stopped| stopped.owner.clone()),
            stopped,
            owner_state: known::examined_owner(self.snapshot, account, self.window),
            closed: account.closed.is_some(),
            closed_at: account.closed,
            clock: snapshot.wall_clock,
            counterfactual: overflow.and_then(|overflow| overflow.remedy()),
            group: self.group(overflows(&counts)),
            peers: peers(self.events),
            repeated_resets: repeated_resets(self.events),
            resets_of_ended_connections: self.ended.further_resets(self.events),
            ages: ages.clone().min().zip(ages.max()),
            idle_limit: self.idle_limit(),
            syn_queue: account.queues.syn,
            tcp_memory: snapshot.health.tcp_memory,
            deferred: deferred(snapshot, account.key.netns(), self.window.0),
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

    /// Returns the periods in which drops by a full queue followed each other.
    fn episodes(&self, refusals: &[Refusal]) -> Vec<Episode> {
        /// Time without drops that ends a period: clients have tried again several times by then.
        const QUIET: Duration = Duration::from_secs(30);
        let runs = self.past.into_iter().flat_map(|past| past.runs().iter().zip(past.runs().iter().skip(1)));
        let rose = runs.filter(|(before, run)| run.drops > before.drops && run.since >= self.window.0);
        // A rise lies between two samples: events say when.
        let rose = rose.map(|(before, run)| (before.until.max(self.window.0), run.since));
        let mut times: Vec<_> = refusals.iter().map(|refusal| (refusal.at, refusal.at)).chain(rose).collect();
        times.sort_unstable();
        let mut episodes: Vec<Episode> = Vec::new();
        for (from, to) in times {
            match episodes.last_mut() {
                Some(last) if from.since(last.to) < QUIET => last.to = last.to.max(to),
                Some(_) | None => {
                    episodes.push(Episode { from, to, arriving: None, caught_up: Duration::ZERO })
                }
            }
        }
        for episode in &mut episodes {
            let within = |refusal: &&Refusal| refusal.at >= episode.from && refusal.at <= episode.to;
            let refusals: Vec<_> = refusals.iter().filter(within).copied().collect();
            let from = refusals.first().map_or(episode.from, |first| first.at);
            if let Some(last) = last_arrival(&refusals) {
                episode.arriving = self.flow(from, last);
                episode.caught_up = self.caught_up(from, last);
            }
        }
        episodes
    }

    /// Returns how long nobody waited for accept() between two moments.
    fn caught_up(&self, first: Timestamp, last: Timestamp) -> Duration {
        let runs = self.past.into_iter().flat_map(AccountWindow::runs);
        let empty = runs.filter(|run| run.entered > 0 && run.entered == run.accepted);
        empty.map(|run| run.until.min(last).since(run.since.max(first))).sum()
    }

    /// Returns the progress of the latest period of drops.
    fn stage(&self, dropped: Option<(Timestamp, Timestamp)>) -> Stage {
        match dropped {
            Some(_) if self.account.closed.is_some() => Stage::Over,
            Some((from, _)) if self.window.1.since(from) < Evidence::EARLY => Stage::Early,
            Some((_, to)) if self.window.1.since(to) < Evidence::EARLY => Stage::Running,
            Some(_) | None => Stage::Over,
        }
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

fn elsewhere(serving: &Serving<'_>, key: &AccountKey) -> Elsewhere {
    match key {
        AccountKey::Endpoint(at) => neighbours::elsewhere(serving, *at),
        AccountKey::Listener { .. }
        | AccountKey::Ephemeral { .. }
        | AccountKey::Other(_)
        | AccountKey::Gone(_) => Elsewhere::Nothing,
    }
}

/// Returns the final ACKs that listeners with TCP_DEFER_ACCEPT ignored in a namespace.
fn deferred(snapshot: &Snapshot, netns: Netns, from: Timestamp) -> u64 {
    let moved = snapshot.beside.moved(netns, from);
    moved.iter().find(|moved| moved.counter == BesideCounter::DeferAcceptDrop).map_or(0, |moved| moved.by)
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
