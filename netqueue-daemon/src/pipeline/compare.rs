//! Every namespace's counters against what is attributed to it: found, read in bounded portions, compared again where
//! a drop is under way, and let go when nothing refers to it any more.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use tokio::task::JoinHandle;

use super::{
    Pipeline,
    schedule::{Due, Searches, Sums},
};
use crate::{
    clock,
    domain::{Bracket, Netns, Sample, SearchCost, Timestamp},
    inventory::{Changes, Depth, Namespaces, ReadError, Roots, Search, Seen, search},
};

/// How often counters are compared again that do not agree: what is under way comes to rest.
const SETTLE: u32 = 5;
/// Namespaces read between two readings of what is attributed.
const TOGETHER: usize = 8;
/// How long a snapshot waits for a search to end; on most machines that is enough.
const PATIENCE: Duration = Duration::from_millis(25);

/// The namespaces as far as they are known.
pub(super) struct Comparison {
    host: Netns,
    roots: Roots,
    namespaces: Namespaces,
    due: Due,
    searches: Searches,
    running: Option<Running>,
    cost: SearchCost,
    /// Why some are not compared.
    failures: BTreeMap<Netns, String>,
    /// Numbers of namespaces that are gone, and what had been attributed to each by then.
    at_rest: Sums,
}

struct Running {
    search: JoinHandle<Search>,
    began: Began,
}

/// When a search began: what came later may have missed it.
struct Began {
    at: Timestamp,
    /// What was attributed then,
    sums: Sums,
    /// also to these, which were not known.
    wanted: Vec<Netns>,
}

impl Comparison {
    pub(super) fn new(host: Netns, roots: Roots) -> Self {
        Self {
            host,
            namespaces: Namespaces::new(roots.clone()),
            roots,
            due: Due::default(),
            searches: Searches::new(Duration::ZERO, Instant::now()),
            running: None,
            cost: SearchCost::default(),
            failures: BTreeMap::new(),
            at_rest: Sums::new(),
        }
    }

    /// What is not compared, and why.
    pub(super) fn warnings(&self) -> impl Iterator<Item = String> + '_ {
        const SHOWN: usize = 3;
        let denied = (self.cost.denied > 0).then(|| {
            format!(
                "the network namespaces of {} processes may not be looked at (that needs CAP_SYS_PTRACE): what they \
                 drop is counted, and not compared with the kernel's counters",
                self.cost.denied
            )
        });
        let failures = self.failures.iter().take(SHOWN).map(|(netns, why)| {
            let which =
                if *netns == self.host { "the host".to_owned() } else { format!("namespace {}", netns.0) };
            format!("the counters of {which} are not compared: {why}")
        });
        let more = self.failures.len().checked_sub(SHOWN + 1).map(|more| {
            format!("the counters of {} other namespaces are not compared for such reasons", more + 1)
        });
        denied.into_iter().chain(failures).chain(more)
    }

    /// Namespaces in which something is charged, and that are not known.
    fn unknown(&self, sums: &Sums) -> Vec<Netns> {
        let moves = |(netns, sum): &(&Netns, &_)| self.at_rest.get(netns) != Some(*sum);
        let charged = sums.iter().filter(moves).map(|(netns, _)| *netns);
        charged.filter(|netns| !self.namespaces.knows(*netns)).collect()
    }

    /// Whether a search has ended whose result was not taken yet.
    pub(super) fn has_news(&self) -> bool {
        self.running.as_ref().is_some_and(|running| running.search.is_finished())
    }

    /// Begins a search if one is due. It runs beside: looking through thousands of processes takes a while.
    pub(super) fn begin_search(&mut self, sums: &Sums) {
        let wanted = self.unknown(sums);
        if self.running.is_none()
            && let Some(depth) = self.searches.due(&wanted, Instant::now())
        {
            let roots = self.roots.clone();
            let began = Began { at: clock::now(), sums: sums.clone(), wanted };
            let search = tokio::task::spawn_blocking(move || search(&roots, depth));
            self.running = Some(Running { search, began });
        }
    }

    /// The result of a search, once there is one.
    async fn searched(&mut self) -> Option<Running> {
        let running = self.running.as_mut()?;
        let ended = tokio::time::timeout(PATIENCE, async {
            while !running.search.is_finished() {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        });
        ended.await.ok()?;
        self.running.take()
    }

    fn learn(&mut self, search: Search, began: &Began) -> Changes {
        let (depth, took) = (search.depth, search.took);
        self.cost = SearchCost {
            searches: self.cost.searches + 1,
            spent: self.cost.spent + took,
            processes: search.processes,
            threads: search.threads,
            denied: search.denied,
        };
        let mut changes = self.namespaces.learn(search);
        let missed: Vec<_> =
            began.wanted.iter().copied().filter(|netns| !self.namespaces.knows(*netns)).collect();
        self.searches.ended(depth, took, &missed, Instant::now());
        if changes.doubtful {
            self.searches.want_threads();
        }
        if depth == Depth::Threads {
            changes.gone.extend(missed);
        }
        for netns in &changes.gone {
            self.due.forget(*netns);
            self.failures.remove(netns);
            self.at_rest.insert(*netns, began.sums.get(netns).copied().unwrap_or_default());
        }
        changes
    }

    fn failed(&mut self, netns: Netns, error: &ReadError) {
        match error {
            ReadError::Lost => self.searches.want_threads(),
            ReadError::Closed(_) | ReadError::Netstat(_) => {
                self.failures.insert(netns, error.to_string());
            }
        }
    }
}

impl Pipeline {
    /// Finds every namespace there is and takes the state from which it is compared.
    pub(super) async fn take_baselines(&mut self) {
        const ATTEMPTS: u32 = 20;
        let roots = self.comparison.roots.clone();
        let began = Began { at: clock::now(), sums: Sums::new(), wanted: Vec::new() };
        let found = tokio::task::spawn_blocking(move || search(&roots, Depth::Threads));
        let Ok(found) = found.await else { return };
        self.learn(found, &began);
        let mut left: Vec<_> = self.comparison.namespaces.all().collect();
        for _ in 0..ATTEMPTS {
            let samples = self.sample(&left, false);
            let now = clock::now();
            left.clear();
            for (netns, sample) in samples {
                if !self.aggregator.set_baseline(netns, &sample, now) {
                    left.push(netns);
                }
            }
            if left.is_empty() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        tracing::warn!(
            namespaces = left.len(),
            "drops go on while netqueue starts: residuals may be off by what moved meanwhile"
        );
    }

    /// Compares the counters of namespaces that are due. A drop under way, counted by the kernel and not yet charged,
    /// is waited for; a residual that stays is published, and not waited for again.
    pub(super) async fn reconcile(&mut self) {
        let sums = self.read().sums();
        self.comparison.begin_search(&sums);
        if let Some(Running { search, began }) = self.comparison.searched().await
            && let Ok(search) = search.await
        {
            self.learn(search, &began);
        }
        let known = self.comparison.namespaces.all();
        let mut left = self.comparison.due.choose(self.comparison.host, known, &sums, Instant::now());
        for attempt in 0..SETTLE {
            let last_try = attempt + 1 == SETTLE;
            let samples = self.sample(&left, last_try);
            let now = clock::now();
            left.clear();
            for (netns, sample) in samples {
                if self.aggregator.reconcile(netns, &sample, now) {
                    self.comparison.due.read(netns, sample.bracket.after, Instant::now());
                } else {
                    left.push(netns);
                }
            }
            if left.is_empty() {
                break;
            }
            tokio::time::sleep(Duration::from_millis(1 << attempt)).await;
        }
        self.aggregator.set_search_cost(self.comparison.cost);
        self.aggregator.fold(clock::now());
    }

    fn learn(&mut self, search: Search, began: &Began) {
        let changes = self.comparison.learn(search, began);
        let now = clock::now();
        for netns in changes.gone {
            let attributed = began.sums.get(&netns).copied().unwrap_or_default();
            self.aggregator.gone(netns, attributed, began.at, now);
        }
        for (netns, name) in changes.found {
            self.aggregator.found(netns, name, now);
        }
    }

    /// The kernel's counters of these namespaces, each between two readings of ours.
    fn sample(&mut self, wanted: &[Netns], last_try: bool) -> Vec<(Netns, Sample)> {
        let mut samples = Vec::with_capacity(wanted.len());
        let mut before = self.read().sums();
        for some in wanted.chunks(TOGETHER) {
            let read = self.comparison.namespaces.read(some);
            let after = self.read().sums();
            for (netns, read) in read {
                let Seen { kernel, evidence } = match read {
                    Ok(seen) => seen,
                    Err(error) => {
                        self.comparison.failed(netns, &error);
                        continue;
                    }
                };
                self.comparison.failures.remove(&netns);
                let sum = |sums: &Sums| sums.get(&netns).copied().unwrap_or_default();
                let bracket = Bracket { before: sum(&before), kernel, after: sum(&after) };
                samples.push((netns, Sample { bracket, evidence, last_try }));
            }
            before = after;
        }
        samples
    }
}
