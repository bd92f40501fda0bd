//! Every namespace's counters against what is attributed to it: found, read in bounded portions, compared again where
//! a drop is under way, and compared for the last time when it ends.

use std::{path::Path, sync::Arc, time::Duration, time::Instant};

use tokio::task::JoinHandle;

use super::{
    Pipeline,
    schedule::{Due, Searches, Sums},
};
use crate::{
    clock,
    domain::{Bracket, Farewell, Netns, SearchCost},
    inventory::{Depth, Namespaces, ReadError, Search, search},
    kernel::Numbers,
};

/// How often counters are compared again that do not agree: what is under way comes to rest.
const SETTLE: u32 = 5;
/// Namespaces read between two readings of what is attributed.
const TOGETHER: usize = 8;
const PROC: &str = "/proc";
const UNTOLD: &str = "its inode number is one of those whose namespaces are not told apart";

/// The namespaces as far as they are known.
pub(super) struct Comparison {
    host: Netns,
    numbers: Arc<Numbers>,
    namespaces: Namespaces,
    due: Due,
    searches: Searches,
    running: Option<Running>,
    cost: SearchCost,
}

struct Running {
    search: JoinHandle<Search>,
    /// Charged namespaces that were not known when it began.
    wanted: Vec<Netns>,
}

impl Comparison {
    pub(super) fn new(host: Netns, numbers: Arc<Numbers>) -> Self {
        Self {
            host,
            numbers,
            namespaces: Namespaces::new(Path::new(PROC)),
            due: Due::default(),
            searches: Searches::new(Duration::ZERO, Instant::now()),
            running: None,
            cost: SearchCost::default(),
        }
    }

    /// What keeps namespaces from being compared, where something does.
    pub(super) fn warnings(&self) -> impl Iterator<Item = String> {
        let denied = self.cost.denied;
        let denied = (denied > 0).then(|| {
            format!(
                "the network namespaces of {denied} processes may not be looked at (that needs CAP_SYS_PTRACE): what they \
                 drop is counted, and compared with the kernel's counters only when the namespace ends"
            )
        });
        denied.into_iter()
    }

    fn is_over(&self, netns: Netns) -> bool {
        self.numbers.has_ended(netns)
    }

    /// Whether a namespace can be told from others that have its number. The host's is there as long as the kernel.
    fn tells(&self, netns: Netns) -> bool {
        netns == self.host || self.numbers.tells(netns.inode)
    }

    /// Begins a search if one is due. It runs beside: looking through thousands of processes takes a while.
    pub(super) fn begin_search(&mut self, sums: &Sums) {
        if self.running.is_some() {
            return;
        }
        let unknown = |netns: &Netns| !self.namespaces.knows(*netns) && !self.is_over(*netns);
        let wanted: Vec<_> = sums.keys().copied().filter(unknown).collect();
        if let Some(depth) = self.searches.due(&wanted, Instant::now()) {
            self.running = Some(Running { search: self.search(depth), wanted });
        }
    }

    fn search(&self, depth: Depth) -> JoinHandle<Search> {
        let numbers = Arc::clone(&self.numbers);
        tokio::task::spawn_blocking(move || search(Path::new(PROC), depth, &|inode| numbers.now(inode)))
    }

    /// The result of a search that has ended.
    async fn searched(&mut self) -> Option<(Search, Vec<Netns>)> {
        let Running { search, wanted } = self.running.take_if(|running| running.search.is_finished())?;
        search.await.ok().map(|search| (search, wanted))
    }

    fn learn(&mut self, search: Search, wanted: &[Netns]) -> Vec<(Netns, Option<Arc<str>>)> {
        let (depth, took) = (search.depth, search.took);
        self.cost = SearchCost {
            searches: self.cost.searches + 1,
            spent: self.cost.spent + took,
            processes: search.processes,
            threads: search.threads,
            denied: search.denied,
        };
        let found = self.namespaces.learn(search);
        let missed: Vec<_> = wanted.iter().copied().filter(|netns| !self.namespaces.knows(*netns)).collect();
        self.searches.ended(depth, took, &missed, Instant::now());
        found
    }

    /// Those that were found and have ended since.
    fn forget_ended(&mut self) {
        let over: Vec<_> = self.namespaces.all().filter(|netns| self.is_over(*netns)).collect();
        for netns in over {
            self.namespaces.forget(netns);
            self.due.forget(netns);
        }
    }
}

impl Pipeline {
    /// Finds every namespace there is and takes the state from which it is compared.
    pub(super) async fn take_baselines(&mut self) {
        /// So long after it, what was under way at the first look is charged.
        const LATER: Duration = Duration::from_millis(5);
        let Ok(found) = self.comparison.search(Depth::Threads).await else { return };
        self.learn(found, &[]);
        let all: Vec<_> = self.comparison.namespaces.all().filter(|netns| netns.generation == 0).collect();
        for look in 0..2 {
            for (netns, bracket) in self.sample(&all) {
                self.aggregator.set_baseline(netns, &bracket);
            }
            if look == 0 {
                tokio::time::sleep(LATER).await;
            }
        }
    }

    /// Compares the counters of namespaces that are due, and those of all that ended. A drop under way, counted by the
    /// kernel and not yet charged, is waited for; a residual that stays is published, and not waited for again.
    pub(super) async fn reconcile(&mut self) {
        let ended = self.attached.farewells.drain();
        // Read after their end: these sums are final.
        let sums = self.read().sums();
        self.take_leave(&ended, &sums);
        self.comparison.begin_search(&sums);
        if let Some((search, wanted)) = self.comparison.searched().await {
            self.learn(search, &wanted);
        }
        let comparison = &self.comparison;
        let known = comparison.namespaces.all().filter(|netns| comparison.tells(*netns));
        let mut left = comparison.due.choose(comparison.host, known, &sums, Instant::now());
        for attempt in 1..=SETTLE {
            for (netns, bracket) in self.sample(&std::mem::take(&mut left)) {
                let settled = self.aggregator.reconcile(netns, &bracket, clock::now());
                if settled || attempt == SETTLE {
                    self.comparison.due.read(netns, bracket.after, Instant::now());
                } else {
                    left.push(netns);
                }
            }
            if left.is_empty() {
                break;
            }
            tokio::time::sleep(Duration::from_millis(1 << (attempt - 1))).await;
        }
        self.aggregator.set_search_cost(self.comparison.cost);
    }

    /// Namespaces ended: what each had counted at its end is compared with all that it was charged.
    fn take_leave(&mut self, ended: &[Farewell], sums: &Sums) {
        let now = clock::now();
        for farewell in ended.iter().filter(|farewell| self.comparison.tells(farewell.netns)) {
            let charged = sums.get(&farewell.netns).copied().unwrap_or_default();
            self.aggregator.take_leave(farewell, charged, now);
        }
        self.comparison.forget_ended();
        let Self { aggregator, comparison, .. } = self;
        aggregator.end(|netns| comparison.is_over(netns), now);
        for netns in sums.keys().filter(|netns| !comparison.tells(**netns)) {
            aggregator.not_compared(*netns, UNTOLD);
        }
    }

    fn learn(&mut self, search: Search, wanted: &[Netns]) {
        let now = clock::now();
        for (netns, name) in self.comparison.learn(search, wanted) {
            self.aggregator.found(netns, name, now);
        }
    }

    /// The kernel's counters of these namespaces, each between two readings of ours.
    fn sample(&mut self, wanted: &[Netns]) -> Vec<(Netns, Bracket)> {
        let mut samples = Vec::with_capacity(wanted.len());
        let mut before = self.read().sums();
        for some in wanted.chunks(TOGETHER) {
            let numbers = Arc::clone(&self.comparison.numbers);
            let read = self.comparison.namespaces.read(some, &|inode| numbers.now(inode));
            let after = self.read().sums();
            for (netns, read) in read {
                match read {
                    Ok(kernel) => {
                        let sum = |sums: &Sums| sums.get(&netns).copied().unwrap_or_default();
                        let bracket = Bracket { before: sum(&before), kernel, after: sum(&after) };
                        samples.push((netns, bracket));
                    }
                    // Its end is told by the kernel side; while it lives, somebody else leads to it.
                    Err(ReadError::Lost) => self.comparison.searches.want_threads(),
                    Err(error) => self.aggregator.not_compared(netns, &error.to_string()),
                }
            }
            before = after;
        }
        samples
    }
}
