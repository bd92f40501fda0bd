//! Comparison of every namespace's counters with what is attributed to it.
//!
//! Namespaces are found by searches, read in bounded portions, compared again while a drop is in progress,
//! and compared for the last time when they end.

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use netqueue_domain::{
    BesideValues, Bracket, NamespaceBalance, NamespaceNews, Netns, NetnsFinal, Observation, SearchCost,
};
use tokio::task::JoinHandle;

use super::{
    Feed,
    schedule::{Due, Searches, Sums},
};
use crate::{
    clock,
    inventory::{Depth, Namespaces, NetnsCounters, ReadError, Search, netns::Numbering, search},
};

/// Largest number of comparisons of counters that differ, since a drop in progress is soon charged.
const SETTLE: u32 = 5;
/// Namespaces read between two readings of what is attributed.
const TOGETHER: usize = 8;
const UNTOLD: &str = "its inode number is one of those whose namespaces are not told apart";

/// Attributed side of the comparison.
pub(super) trait Charges {
    /// Reads what is attributed to each namespace, and applies it.
    fn read_sums(&mut self, feed: &mut Feed) -> Sums;

    /// Takes the final counters of the namespaces that ended since the last call.
    fn take_finals(&mut self) -> Vec<NetnsFinal>;
}

/// Owners of inode numbers, which the kernel gives to one namespace after another.
pub(super) trait Generations: Send + Sync + 'static {
    /// Returns the namespace that has the number now, or had it last.
    fn now(&self, inode: u32) -> Netns;

    /// Returns whether namespaces that have this number one after another are distinguished.
    fn tells(&self, inode: u32) -> bool;
}

/// Namespaces found so far, and the state of searching and comparing them.
pub(super) struct Comparison<N> {
    host: Netns,
    proc: PathBuf,
    numbers: Arc<N>,
    generation_of: Numbering,
    namespaces: Namespaces,
    due: Due,
    searches: Searches,
    running: Option<Running>,
    cost: SearchCost,
    /// Counters beside netqueue's own, as last read in each namespace.
    beside: HashMap<Netns, BesideValues>,
}

struct Running {
    search: JoinHandle<Search>,
    /// Charged namespaces that were unknown when the search began.
    wanted: Vec<Netns>,
}

impl<N: Generations> Comparison<N> {
    /// Compares the namespaces found below `proc`.
    pub(super) fn new(host: Netns, proc: &Path, numbers: Arc<N>) -> Self {
        let owner = Arc::clone(&numbers);
        Self {
            host,
            proc: proc.to_owned(),
            generation_of: Arc::new(move |inode| owner.now(inode)),
            numbers,
            namespaces: Namespaces::new(proc),
            due: Due::default(),
            searches: Searches::new(Duration::ZERO, Instant::now()),
            running: None,
            cost: SearchCost::default(),
            beside: HashMap::new(),
        }
    }

    /// Returns the warnings about what prevents namespaces from being compared.
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

    /// Returns whether the namespace has ended: its number is free, or belongs to another.
    fn is_over(&self, netns: Netns) -> bool {
        self.numbers.now(netns.inode) != netns
    }

    /// Returns whether a namespace is distinguished from others with its number.
    /// The host's always is, as it exists as long as the kernel.
    fn tells(&self, netns: Netns) -> bool {
        netns == self.host || self.numbers.tells(netns.inode)
    }

    /// Starts a search if one is due.
    /// On another thread, because searching thousands of processes takes a while.
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
        let (proc, generation_of) = (self.proc.clone(), Arc::clone(&self.generation_of));
        tokio::task::spawn_blocking(move || search(&proc, depth, &*generation_of))
    }

    /// Returns the result of a search that has ended.
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

    /// Drops namespaces that were found and have ended since.
    fn forget_ended(&mut self) {
        let over: Vec<_> = self.namespaces.all().filter(|netns| self.is_over(*netns)).collect();
        for netns in over {
            self.namespaces.forget(netns);
            self.due.forget(netns);
            self.beside.remove(&netns);
        }
    }

    /// Finds every existing namespace and takes the baseline of its comparison.
    pub(super) async fn take_baselines(&mut self, charges: &mut impl Charges, feed: &mut Feed) {
        /// Pause after which drops that were in progress at the first reading are charged.
        const LATER: Duration = Duration::from_millis(5);
        let Ok(search) = self.search(Depth::Threads).await else { return };
        let found = self.learn(search, &[]);
        feed.tell(clock::now(), Observation::Namespaces(NamespaceNews { found, ..NamespaceNews::default() }));
        let all: Vec<_> = self.namespaces.all().filter(|netns| netns.generation == 0).collect();
        for look in 0..2 {
            let mut news = NamespaceNews::default();
            for (netns, bracket) in self.sample(charges, feed, &all, &mut news) {
                feed.tell(clock::now(), Observation::Baseline(netns, bracket));
            }
            tell(feed, news);
            if look == 0 {
                tokio::time::sleep(LATER).await;
            }
        }
    }

    /// Compares the counters of namespaces that are due, and of all that ended.
    /// A drop in progress, counted by the kernel and not yet charged, is waited for. A residual that persists
    /// is published, and not waited for again.
    pub(super) async fn reconcile(&mut self, charges: &mut impl Charges, feed: &mut Feed) {
        let sums = self.end_netns(charges, feed);
        let mut news = NamespaceNews::default();
        self.begin_search(&sums);
        if let Some((search, wanted)) = self.searched().await {
            news.found = self.learn(search, &wanted);
            news.search = Some(self.cost);
        }
        tell(feed, std::mem::take(&mut news));
        let known: Vec<_> = self.namespaces.all().filter(|netns| self.tells(*netns)).collect();
        let mut left = self.due.choose(self.host, known.into_iter(), &sums, Instant::now());
        for attempt in 1..=SETTLE {
            for (netns, bracket) in self.sample(charges, feed, &std::mem::take(&mut left), &mut news) {
                let last = feed.aggregator().balance(netns).copied();
                feed.tell(clock::now(), Observation::Compared(netns, bracket));
                let settled = |now: &NamespaceBalance| {
                    now.is_exact() || last.as_ref().is_some_and(|last| now.same_residual(last))
                };
                if attempt == SETTLE || feed.aggregator().balance(netns).is_none_or(settled) {
                    // What was charged during the reading may be in neither sum: then the namespace is due
                    // again.
                    self.due.read(netns, bracket.before, Instant::now());
                } else {
                    left.push(netns);
                }
            }
            if left.is_empty() {
                break;
            }
            tokio::time::sleep(Duration::from_millis(1 << (attempt - 1))).await;
        }
        tell(feed, news);
    }

    /// Reports the namespaces that ended, with their final counters compared to all their charges.
    /// Returns what is attributed to each namespace.
    fn end_netns(&mut self, charges: &mut impl Charges, feed: &mut Feed) -> Sums {
        let ended = charges.take_finals();
        // Read after their end, so that these sums are final.
        let sums = charges.read_sums(feed);
        self.forget_ended();
        let charged = |netns| sums.get(&netns).copied().unwrap_or_default();
        let told = ended.into_iter().filter(|last| self.tells(last.netns));
        let known = feed.aggregator().living_namespaces();
        let unreported = sums.keys().filter(|netns| {
            !self.tells(**netns) && feed.aggregator().why_not_compared(**netns) != Some(UNTOLD)
        });
        let news = NamespaceNews {
            finals: told.map(|last| (last, charged(last.netns))).collect(),
            ended: known.filter(|netns| self.is_over(*netns)).collect(),
            not_compared: unreported.map(|netns| (*netns, UNTOLD.into())).collect(),
            ..NamespaceNews::default()
        };
        tell(feed, news);
        sums
    }

    /// Reads the kernel's counters of these namespaces, each between two readings of what is attributed.
    fn sample(
        &mut self,
        charges: &mut impl Charges,
        feed: &mut Feed,
        wanted: &[Netns],
        news: &mut NamespaceNews,
    ) -> Vec<(Netns, Bracket)> {
        let mut samples = Vec::with_capacity(wanted.len());
        let mut before = charges.read_sums(feed);
        for some in wanted.chunks(TOGETHER) {
            let generation_of = Arc::clone(&self.generation_of);
            let read = self.namespaces.read(some, &*generation_of);
            let after = charges.read_sums(feed);
            for (netns, read) in read {
                match read {
                    Ok(NetnsCounters { kernel, beside }) => {
                        self.tell_beside(feed, netns, beside);
                        let sum = |sums: &Sums| sums.get(&netns).copied().unwrap_or_default();
                        let bracket = Bracket { before: sum(&before), kernel, after: sum(&after) };
                        samples.push((netns, bracket));
                    }
                    // The kernel side reports its end; while the namespace exists, another thread leads to
                    // it.
                    Err(ReadError::Lost) => self.searches.want_threads(),
                    Err(error) => news.not_compared.push((netns, error.to_string().into())),
                }
            }
            before = after;
        }
        samples
    }

    /// Reports which counters beside netqueue's own rose since the namespace was last read.
    fn tell_beside(&mut self, feed: &mut Feed, netns: Netns, read: BesideValues) {
        // A namespace that was made after netqueue attached began at 0; of another, only what follows is known.
        let unread = if netns.generation > 0 { BesideValues::default() } else { read };
        let last = self.beside.insert(netns, read).unwrap_or(unread);
        let risen = read.risen_since(&last);
        feed.tell_any(clock::now(), risen, |risen| Observation::Beside(netns, risen));
    }
}

fn tell(feed: &mut Feed, news: NamespaceNews) {
    if !news.is_empty() {
        feed.tell(clock::now(), Observation::Namespaces(news));
    }
}
