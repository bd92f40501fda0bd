//! Tests of the promise `kernel = attributed + residual`, for each namespace.
//!
//! The kernel's counters come from an imitation of /proc, the attributed ones from a script.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex},
    time::Duration,
};

use netqueue_domain::{KernelCounter, NamespaceBalance, Netns, NetnsFinal, PerCounter, Start};

use super::{
    Feed,
    compare::{Charges, Comparison, Generations},
    schedule::Sums,
};
use crate::inventory::tree::Tree;

const HOST: Netns = Netns::at_attach(4_026_531_840);
/// Pod that is made after netqueue attached, and the next one with its number.
const POD: Netns = Netns { inode: 4_026_532_201, generation: 1 };
const NEXT_POD: Netns = Netns { generation: 2, ..POD };

/// Owners of numbers: generation 0 unless another one is set.
#[derive(Default)]
struct Numbers {
    generations: Mutex<HashMap<u32, u32>>,
    /// Number whose owners are not told apart.
    untold: Option<u32>,
}

impl Generations for Numbers {
    fn now(&self, inode: u32) -> Netns {
        let generations = self.generations.lock().expect("no test failed");
        Netns { inode, generation: generations.get(&inode).copied().unwrap_or(0) }
    }

    fn tells(&self, inode: u32) -> bool {
        self.untold != Some(inode)
    }
}

/// Kernel side as a script: what each reading shows, of which the last is shown again and again.
#[derive(Default)]
struct Script {
    readings: VecDeque<Sums>,
    finals: Vec<NetnsFinal>,
    read: usize,
}

impl Charges for Script {
    fn read_sums(&mut self, _feed: &mut Feed) -> Sums {
        self.read += 1;
        let shown = self.readings.front().cloned().unwrap_or_default();
        if self.readings.len() > 1 {
            self.readings.pop_front();
        }
        shown
    }

    fn take_finals(&mut self) -> Vec<NetnsFinal> {
        std::mem::take(&mut self.finals)
    }
}

struct Daemon {
    proc: Tree,
    numbers: Arc<Numbers>,
    comparison: Comparison<Numbers>,
    script: Script,
    feed: Feed,
}

fn all(number: u64) -> PerCounter<u64> {
    PerCounter::from_fn(|_| number)
}

impl Daemon {
    /// Starts on a host whose counters stand at 1000.
    fn new(numbers: Numbers) -> Self {
        let (proc, numbers) = (Tree::new(), Arc::new(numbers));
        proc.process(1, HOST.inode);
        proc.counts(1, 1, 1000);
        let comparison = Comparison::new(HOST, proc.proc(), Arc::clone(&numbers));
        Self { proc, numbers, comparison, script: Script::default(), feed: Feed::of(HOST) }
    }

    async fn attached() -> Self {
        let mut daemon = Self::new(Numbers::default());
        daemon.attach().await;
        daemon
    }

    async fn attach(&mut self) {
        self.comparison.take_baselines(&mut self.script, &mut self.feed).await;
    }

    /// Scripts what is attributed to a namespace in the readings to come.
    fn charge(&mut self, netns: Netns, readings: &[u64]) {
        let last = self.script.readings.back().cloned().unwrap_or_default();
        let shown = |number: &u64| {
            let mut sums = last.clone();
            sums.insert(netns, all(*number));
            sums
        };
        self.script.readings = readings.iter().map(shown).collect();
    }

    fn own(&self, netns: Netns) {
        self.numbers.generations.lock().expect("no test failed").insert(netns.inode, netns.generation);
    }

    /// Finds a pod in which this many of each were counted and charged.
    async fn find_pod(&mut self, number: u64) {
        self.own(POD);
        self.proc.process(70, POD.inode);
        self.proc.counts(70, 70, number);
        self.charge(POD, &[number]);
        self.reconcile_until(|feed| feed.aggregator().balance(POD).is_some()).await;
    }

    async fn reconcile(&mut self) {
        self.comparison.reconcile(&mut self.script, &mut self.feed).await;
    }

    /// Reconciles until a namespace that was searched for in the background is found.
    async fn reconcile_until(&mut self, done: impl Fn(&Feed) -> bool) {
        for _ in 0..1000 {
            self.reconcile().await;
            if done(&self.feed) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        panic!("not within 1000 snapshots");
    }

    fn balance(&self, netns: Netns) -> NamespaceBalance {
        *self.feed.aggregator().balance(netns).expect("it was compared")
    }

    /// Returns a namespace's increase since its start, its attributed part, and the residual.
    /// Checks that they add up, and that all counters are alike.
    fn sum(&self, netns: Netns) -> (i64, i64, i64) {
        let balance = self.balance(netns);
        let first = balance.counters.get(KernelCounter::ListenDrops);
        assert!(balance.counters.iter().all(|(_, counter)| counter == first), "{balance:?}");
        assert_eq!(first.since_attach, first.attributed + first.residual);
        (first.since_attach, first.attributed, first.residual)
    }

    fn why_not(&self, netns: Netns) -> Option<&str> {
        self.feed.aggregator().why_not_compared(netns)
    }
}

#[tokio::test]
async fn what_was_counted_before_netqueue_attached_is_no_part_of_the_comparison() {
    let mut daemon = Daemon::attached().await;
    daemon.proc.counts(1, 1, 1010);
    daemon.charge(HOST, &[10]);
    daemon.reconcile().await;
    assert_eq!(daemon.sum(HOST), (10, 10, 0));
    assert_eq!((daemon.balance(HOST).start, daemon.balance(HOST).slack), (Start::Attach, 0));
}

#[tokio::test]
async fn a_drop_in_progress_is_waited_for() {
    let mut daemon = Daemon::attached().await;
    daemon.proc.counts(1, 1, 1010);
    daemon.charge(HOST, &[9, 9, 9, 9, 10]);
    daemon.reconcile().await;
    assert_eq!(daemon.sum(HOST), (10, 10, 0));
}

#[tokio::test]
async fn a_drop_that_nobody_is_charged_with_is_published_and_not_waited_for_again() {
    let mut daemon = Daemon::attached().await;
    daemon.proc.counts(1, 1, 1010);
    daemon.charge(HOST, &[9]);
    daemon.script.read = 0;
    daemon.reconcile().await;
    assert_eq!(daemon.sum(HOST), (10, 9, 1));
    let waited = std::mem::take(&mut daemon.script.read);
    daemon.reconcile().await;
    assert_eq!(daemon.sum(HOST), (10, 9, 1));
    // One reading for the ends of namespaces, and two around each comparison: it is repeated once, and then
    // found as it was.
    assert_eq!((waited, daemon.script.read), (1 + 2 * 2, 1 + 2));
    // A charge too many shows as well.
    daemon.charge(HOST, &[12]);
    daemon.reconcile().await;
    assert_eq!(daemon.sum(HOST), (10, 12, -2));
}

#[tokio::test]
async fn a_namespace_whose_residual_keeps_changing_is_compared_five_times_at_most() {
    let mut daemon = Daemon::attached().await;
    daemon.proc.counts(1, 1, 1100);
    daemon.charge(HOST, &(0..20).collect::<Vec<_>>());
    daemon.reconcile().await;
    assert_eq!(daemon.sum(HOST), (100, 10, 90));
    daemon.charge(HOST, &[100]);
    daemon.reconcile().await;
    assert_eq!(daemon.sum(HOST), (100, 100, 0), "what was charged since makes it due");
}

#[tokio::test]
async fn a_baseline_taken_during_drops_has_slack_until_two_readings_are_quiet() {
    let mut daemon = Daemon::new(Numbers::default());
    // Three drops while the counters are read for the first time, and one that is charged late.
    daemon.charge(HOST, &[0, 3, 4]);
    daemon.attach().await;
    daemon.proc.counts(1, 1, 1001);
    daemon.reconcile().await;
    assert_eq!((daemon.sum(HOST).2, daemon.balance(HOST).slack), (0, 4));
    daemon.reconcile().await;
    daemon.reconcile().await;
    assert_eq!(daemon.balance(HOST).slack, 0);
    daemon.proc.counts(1, 1, 1003);
    daemon.charge(HOST, &[5]);
    daemon.reconcile().await;
    assert_eq!(daemon.sum(HOST).2, 1, "from here on nothing hides");
}

#[tokio::test]
async fn a_namespace_that_was_there_and_found_late_is_compared_from_its_first_reading() {
    const LATE: Netns = Netns::at_attach(POD.inode);
    let mut daemon = Daemon::attached().await;
    daemon.proc.process(70, LATE.inode);
    daemon.proc.counts(70, 70, 500);
    daemon.charge(LATE, &[4]);
    daemon.reconcile_until(|feed| feed.aggregator().balance(LATE).is_some()).await;
    assert_eq!(daemon.sum(LATE), (0, 0, 0));
    assert!(matches!(daemon.balance(LATE).start, Start::FirstLook(_)));
    daemon.proc.counts(70, 70, 503);
    daemon.charge(LATE, &[6]);
    daemon.reconcile().await;
    assert_eq!(daemon.sum(LATE), (3, 2, 1));
}

#[tokio::test]
async fn a_namespace_is_compared_from_its_birth_to_its_end_also_if_it_was_never_found() {
    let mut daemon = Daemon::attached().await;
    daemon.find_pod(3).await;
    assert_eq!((daemon.sum(POD), daemon.balance(POD).start), ((3, 3, 0), Start::Birth));
    assert!(!daemon.balance(POD).last);

    // It ends with two drops more, of which one is not charged.
    daemon.proc.end(70);
    daemon.own(NEXT_POD);
    daemon.script.finals.push(NetnsFinal { netns: POD, kernel: all(5) });
    daemon.charge(POD, &[4]);
    daemon.reconcile().await;
    assert_eq!((daemon.sum(POD), daemon.balance(POD).last), ((5, 4, 1), true));
    assert!(!daemon.feed.aggregator().living_namespaces().any(|netns| netns == POD));

    // The next one comes and goes between two snapshots.
    daemon.own(Netns { generation: 3, ..POD });
    daemon.script.finals.push(NetnsFinal { netns: NEXT_POD, kernel: all(7) });
    daemon.charge(NEXT_POD, &[7]);
    daemon.reconcile().await;
    assert_eq!((daemon.sum(NEXT_POD), daemon.balance(NEXT_POD).last), ((7, 7, 0), true));
    assert_eq!(daemon.sum(POD), (5, 4, 1), "the last comparison stays");
}

#[tokio::test]
async fn the_next_namespace_with_a_number_is_not_compared_with_the_charges_of_the_last() {
    let mut daemon = Daemon::attached().await;
    daemon.find_pod(40).await;

    // The number passes on, under the feet of a thread that leads to the namespace by its number.
    daemon.own(NEXT_POD);
    daemon.proc.counts(70, 70, 2);
    daemon.charge(NEXT_POD, &[2]);
    daemon.script.finals.push(NetnsFinal { netns: POD, kernel: all(40) });
    daemon.reconcile_until(|feed| feed.aggregator().balance(NEXT_POD).is_some()).await;
    assert_eq!((daemon.sum(POD), daemon.balance(POD).last), ((40, 40, 0), true));
    assert_eq!((daemon.sum(NEXT_POD), daemon.balance(NEXT_POD).last), ((2, 2, 0), false));
}

#[tokio::test]
async fn a_namespace_that_cannot_be_read_has_its_reason_until_it_can() {
    let mut daemon = Daemon::attached().await;
    daemon.own(POD);
    daemon.proc.process(70, POD.inode);
    daemon.charge(POD, &[3]);
    daemon.reconcile_until(|feed| feed.aggregator().why_not_compared(POD).is_some()).await;
    assert!(daemon.why_not(POD).is_some_and(|why| why.contains("netstat")), "{:?}", daemon.why_not(POD));
    assert!(daemon.feed.aggregator().balance(POD).is_none());
    daemon.proc.counts(70, 70, 3);
    daemon.reconcile().await;
    assert_eq!((daemon.sum(POD), daemon.why_not(POD)), ((3, 3, 0), None));
}

#[tokio::test]
async fn a_namespace_whose_known_thread_has_left_is_searched_for_by_another() {
    let mut daemon = Daemon::attached().await;
    daemon.find_pod(3).await;
    daemon.proc.end(70);
    daemon.proc.process(71, POD.inode);
    daemon.proc.counts(71, 71, 8);
    daemon.charge(POD, &[8]);
    let again = |feed: &Feed| feed.aggregator().balance(POD).is_some_and(|now| now.charged == all(8));
    daemon.reconcile_until(again).await;
    assert_eq!(daemon.sum(POD), (8, 8, 0));
}

#[tokio::test]
async fn namespaces_that_are_not_told_apart_are_not_compared_and_the_host_always_is() {
    let mut daemon = Daemon::new(Numbers { untold: Some(POD.inode), ..Numbers::default() });
    daemon.proc.process(70, POD.inode);
    daemon.proc.counts(70, 70, 3);
    daemon.attach().await;
    let untold = Netns::at_attach(POD.inode);
    daemon.charge(untold, &[9]);
    daemon.script.finals.push(NetnsFinal { netns: untold, kernel: all(3) });
    daemon.reconcile().await;
    assert!(daemon.why_not(untold).is_some_and(|why| why.contains("not told apart")));
    assert!(daemon.feed.aggregator().balance(untold).is_none());
    assert_eq!(daemon.sum(HOST), (0, 0, 0));

    let mut daemon = Daemon::new(Numbers { untold: Some(HOST.inode), ..Numbers::default() });
    daemon.attach().await;
    daemon.proc.counts(1, 1, 1001);
    daemon.charge(HOST, &[1]);
    daemon.reconcile().await;
    assert_eq!(daemon.sum(HOST), (1, 1, 0));
}

#[tokio::test]
async fn what_moved_beside_is_told_from_attach_on_and_of_a_later_namespace_from_its_birth() {
    let mut daemon = Daemon::new(Numbers::default());
    daemon.proc.reverse_path_filter(1, 1, 500);
    daemon.attach().await;
    let told = |daemon: &Daemon, netns| {
        let now = crate::clock::now();
        let snapshot = daemon.feed.snapshot(now);
        let moved = snapshot.beside.moved(netns, now.before(Duration::from_secs(60)));
        moved.iter().map(|moved| moved.by).sum::<u64>()
    };
    daemon.reconcile().await;
    assert_eq!(told(&daemon, HOST), 0, "what was before is not told");
    daemon.proc.reverse_path_filter(1, 1, 503);
    daemon.reconcile().await;
    assert_eq!(told(&daemon, HOST), 3);
    daemon.own(POD);
    daemon.proc.process(70, POD.inode);
    daemon.proc.counts(70, 70, 0);
    daemon.proc.reverse_path_filter(70, 70, 7);
    daemon.charge(POD, &[0]);
    daemon.reconcile_until(|feed| feed.aggregator().balance(POD).is_some()).await;
    assert_eq!(told(&daemon, POD), 7);
}
