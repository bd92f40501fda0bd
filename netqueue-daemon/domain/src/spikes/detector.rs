//! Spike detector: counts and events go in with the time, notices come out. Counts decide; events only
//! add start and peers.

use std::{
    collections::{HashMap, VecDeque},
    time::Duration,
};

use super::{Sensitivity, Spike, SpikeNotice, SpikeScope, baseline::Baseline, peers::Peers};
use crate::{AccountKey, Counts, Event, Netns, Peer, Timestamp, What};

/// Maximum number of drops remembered with their peers, for the spike that they may begin.
const REMEMBERED: usize = 4096;
/// Maximum number of ended spikes kept.
const KEPT: usize = 256;

/// Detector of sudden rises of drops, for every listener and cause and for every namespace.
#[derive(Debug)]
pub struct SpikeDetector {
    sensitivity: Sensitivity,
    /// Time since which counts are read without a long pause, and time of the last reading.
    ticked: Option<(Timestamp, Timestamp)>,
    scopes: HashMap<SpikeScope, Scope>,
    over: VecDeque<Spike>,
    numbered: u64,
}

impl SpikeDetector {
    /// Creates a detector that has observed nothing.
    #[must_use]
    pub fn new(sensitivity: Sensitivity) -> Self {
        Self { sensitivity, ticked: None, scopes: HashMap::new(), over: VecDeque::new(), numbered: 0 }
    }

    /// Takes in an event.
    pub fn observe(&mut self, event: &Event) {
        let What::Drop(kind) = event.what else { return };
        if self.ticked.is_none() {
            return;
        }
        for scope in
            [SpikeScope::Account(event.account, kind.cause()), SpikeScope::Namespace(event.account.netns())]
        {
            let fresh = || Scope::new(self.ticked, &self.sensitivity);
            self.scopes.entry(scope).or_insert_with(fresh).meet(event.time, event.peer);
        }
    }

    /// Takes in the counts of every account, and returns the spikes that began and that ended.
    ///
    /// Nothing is sudden in the first reading, where counting begins, nor in one after a long pause.
    pub fn tick<'a>(
        &mut self,
        accounts: impl IntoIterator<Item = (&'a AccountKey, &'a Counts)>,
        now: Timestamp,
    ) -> Vec<SpikeNotice> {
        let step = Step::between(self.ticked, now, &self.sensitivity);
        let mut readings = readings(accounts);
        // Sorted, because the order of a hash varies: equal input gives equal numbers.
        readings.sort_unstable_by_key(|(scope, _)| *scope);
        let mut notices = Vec::new();
        for (scope, drops) in readings {
            let fresh = || Scope::new(self.ticked, &self.sensitivity);
            let state = self.scopes.entry(scope).or_insert_with(fresh);
            state.read = now;
            let Some(change) = state.advance(drops, step, &self.sensitivity) else { continue };
            notices.push(match change {
                Change::Started(spike) => {
                    self.numbered += 1;
                    SpikeNotice::Started(state.begin(Spike { id: self.numbered, scope, ..spike }))
                }
                Change::Ended(spike) => SpikeNotice::Ended(spike),
            });
        }
        // An account that is no longer read is gone, and its spike with it.
        let gone: Vec<_> = self.scopes.extract_if(|_, state| state.read < now && state.idle(now)).collect();
        let mut ended: Vec<_> = gone.into_iter().filter_map(|(_, state)| state.give_up(now)).collect();
        ended.sort_unstable_by_key(|spike| spike.id);
        notices.extend(ended.into_iter().map(SpikeNotice::Ended));
        for notice in &notices {
            if let SpikeNotice::Ended(spike) = notice {
                self.over.push_back(spike.clone());
            }
        }
        self.over.drain(..self.over.len().saturating_sub(KEPT));
        let since = self.ticked.filter(|_| step.counts).map_or(now, |(since, _)| since);
        self.ticked = Some((since, now));
        notices
    }

    /// Returns the spikes that go on and the newest of those that are over, oldest first.
    #[must_use]
    pub fn spikes(&self) -> Vec<Spike> {
        let active = self.scopes.values().filter_map(Scope::spike);
        let mut spikes: Vec<_> = self.over.iter().cloned().chain(active).collect();
        spikes.sort_unstable_by_key(|spike| spike.id);
        spikes
    }
}

/// Sums the drops by scope; scopes without any are left out. Accounts that take over others' counts
/// have no scope, and count in their namespace's alone.
fn readings<'a>(accounts: impl IntoIterator<Item = (&'a AccountKey, &'a Counts)>) -> Vec<(SpikeScope, u64)> {
    let mut namespaces: HashMap<Netns, u64> = HashMap::new();
    let mut readings: HashMap<SpikeScope, u64> = HashMap::new();
    for (key, counts) in accounts {
        for (kind, drops) in counts.drops().filter(|(_, drops)| *drops > 0) {
            *namespaces.entry(key.netns()).or_default() += drops;
            if !matches!(key, AccountKey::Gone(_)) {
                *readings.entry(SpikeScope::Account(*key, kind.cause())).or_default() += drops;
            }
        }
    }
    readings.extend(namespaces.into_iter().map(|(netns, drops)| (SpikeScope::Namespace(netns), drops)));
    readings.into_iter().collect()
}

/// Time between two readings.
#[derive(Clone, Copy)]
struct Step {
    from: Timestamp,
    to: Timestamp,
    /// True if the time is short enough to give a rate.
    counts: bool,
}

impl Step {
    fn between(ticked: Option<(Timestamp, Timestamp)>, now: Timestamp, sensitivity: &Sensitivity) -> Self {
        match ticked {
            Some((_, last)) if now.since(last) <= sensitivity.longest_step => {
                Self { from: last, to: now, counts: true }
            }
            Some(_) | None => Self { from: now, to: now, counts: false },
        }
    }
}

/// Change that a reading brought.
enum Change {
    Started(Spike),
    Ended(Spike),
}

/// State of one scope.
#[derive(Debug)]
struct Scope {
    /// Drops as last read; `None` if no scope has been read before.
    last: Option<u64>,
    read: Timestamp,
    /// Time since which the scope is watched without a gap.
    watched: Timestamp,
    /// Drops of the last window: time of the reading before, time of the reading, number.
    recent: VecDeque<(Timestamp, Timestamp, u64)>,
    baseline: Baseline,
    /// Window that is being learned: its start and its drops so far.
    learning: (Timestamp, u64),
    /// Newest drops that have an event.
    met: VecDeque<(Timestamp, Option<Peer>)>,
    active: Option<Active>,
}

/// Spike under way.
#[derive(Debug)]
struct Active {
    spike: Spike,
    peers: Peers,
    calm_since: Option<Timestamp>,
}

impl Scope {
    /// Creates a scope that has not been read so far. A scope that is not read has no drops: if there were
    /// readings before, it dropped nothing since the first.
    fn new(ticked: Option<(Timestamp, Timestamp)>, sensitivity: &Sensitivity) -> Self {
        let (watched, read) = ticked.unwrap_or_default();
        let windows = read.since(watched).as_secs_f64() / sensitivity.window.as_secs_f64();
        Self {
            last: ticked.map(|_| 0),
            read,
            watched,
            recent: VecDeque::new(),
            baseline: Baseline::quiet(windows, sensitivity.window, sensitivity.memory),
            learning: (read, 0),
            met: VecDeque::new(),
            active: None,
        }
    }

    fn meet(&mut self, at: Timestamp, peer: Option<Peer>) {
        match &mut self.active {
            Some(active) => active.peers.meet(peer),
            None => {
                if self.met.len() == REMEMBERED {
                    self.met.pop_front();
                }
                self.met.push_back((at, peer));
            }
        }
    }

    fn advance(&mut self, drops: u64, step: Step, sensitivity: &Sensitivity) -> Option<Change> {
        let risen = self.last.map_or(0, |last| drops.saturating_sub(last));
        self.last = Some(drops);
        if !step.counts {
            // Drops during the pause belong to a spike under way, but give no rate.
            self.recent.clear();
            self.learning = (step.to, 0);
            self.watched = if self.active.is_some() { self.watched } else { step.to };
            if let Some(active) = &mut self.active {
                active.spike.drops += risen;
            }
            return None;
        }
        if risen > 0 {
            self.recent.push_back((step.from, step.to, risen));
        }
        let forget = step.to.before(sensitivity.window);
        while self.recent.front().is_some_and(|(_, read, _)| *read <= forget) {
            self.recent.pop_front();
        }
        let sum: u64 = self.recent.iter().map(|(.., drops)| drops).sum();
        let ordinary = self.baseline.threshold(sensitivity.factor, sensitivity.deviations);
        let threshold = ordinary.max(sensitivity.floor as f64);
        if self.active.is_some() {
            return self.go_on(risen, sum as f64 <= threshold / 2.0, step, sensitivity).map(Change::Ended);
        }
        let watched = step.from.since(self.watched) >= sensitivity.warm_up;
        if watched && sum as f64 >= threshold {
            return Some(Change::Started(self.start(sum, step, sensitivity)));
        }
        self.learn(risen, step, sensitivity);
        None
    }

    fn learn(&mut self, risen: u64, step: Step, sensitivity: &Sensitivity) {
        self.learning.1 += risen;
        let (since, drops) = self.learning;
        if step.to.since(since) >= sensitivity.window {
            self.baseline.learn(drops, sensitivity.window, sensitivity.memory);
            self.learning = (step.to, 0);
        }
        while self.met.front().is_some_and(|(at, _)| *at <= step.to.before(sensitivity.window)) {
            self.met.pop_front();
        }
    }

    fn start(&self, sum: u64, step: Step, sensitivity: &Sensitivity) -> Spike {
        // The start is where counts began to rise without a pause, not the drops that trickled in before.
        let since = self.recent.front().map_or(step.from, |(from, ..)| *from);
        let began = self.met.iter().map(|(at, _)| *at).find(|at| *at >= since).unwrap_or(since);
        Spike {
            id: 0,
            scope: SpikeScope::Namespace(Netns::at_attach(0)),
            started: began.min(step.to),
            detected: step.to,
            last_drop: self.recent.back().map_or(step.to, |(_, read, _)| *read),
            ended: None,
            drops: sum,
            peak_per_second: most_in_a_second(&self.recent),
            baseline_per_second: self.baseline.mean() / sensitivity.window.as_secs_f64(),
            peers: super::PeerCount::default(),
        }
    }

    /// Makes the spike the active one, and adds the peers it has met so far.
    fn begin(&mut self, spike: Spike) -> Spike {
        let mut peers = Peers::default();
        self.met.drain(..).filter(|(at, _)| *at >= spike.started).for_each(|(_, peer)| peers.meet(peer));
        let counted = Spike { peers: peers.count(spike.drops), ..spike };
        self.active = Some(Active { spike: counted.clone(), peers, calm_since: None });
        counted
    }

    fn go_on(&mut self, risen: u64, calm: bool, step: Step, sensitivity: &Sensitivity) -> Option<Spike> {
        let active = self.active.as_mut()?;
        active.spike.drops += risen;
        active.spike.peak_per_second = active.spike.peak_per_second.max(most_in_a_second(&self.recent));
        if risen > 0 {
            active.spike.last_drop = step.to;
        }
        if !calm {
            active.calm_since = None;
            return None;
        }
        let calm_since = *active.calm_since.get_or_insert(step.to);
        if step.to.since(calm_since) < sensitivity.calm {
            return None;
        }
        self.learning = (step.to, 0);
        self.end(step.to)
    }

    fn end(&mut self, now: Timestamp) -> Option<Spike> {
        let Active { spike, peers, .. } = self.active.take()?;
        Some(Spike { ended: Some(now), peers: peers.count(spike.drops), ..spike })
    }

    /// Returns whether the scope may be forgotten once it is no longer read. Events may arrive before the
    /// counts, so that a new scope is given some time.
    fn idle(&self, now: Timestamp) -> bool {
        const PATIENCE: Duration = Duration::from_secs(10);
        now.since(self.read) >= PATIENCE
    }

    fn give_up(mut self, now: Timestamp) -> Option<Spike> {
        self.end(now)
    }

    /// Returns the spike under way, with its current peers.
    fn spike(&self) -> Option<Spike> {
        let Active { spike, peers, .. } = self.active.as_ref()?;
        Some(Spike { peers: peers.count(spike.drops), ..spike.clone() })
    }
}

/// Returns the maximum counted in any second, by the times of the readings. A reading may bring drops
/// of more than a second, over which they are then spread.
fn most_in_a_second(recent: &VecDeque<(Timestamp, Timestamp, u64)>) -> u64 {
    const SECOND: Duration = Duration::from_secs(1);
    let within = |until: Timestamp| -> f64 {
        let counted = recent.iter().filter(|(_, read, _)| *read <= until && until.since(*read) < SECOND);
        counted.map(|(from, read, drops)| *drops as f64 / read.since(*from).as_secs_f64().max(1.0)).sum()
    };
    recent.iter().map(|(_, read, _)| within(*read)).fold(0.0, f64::max).round() as u64
}
