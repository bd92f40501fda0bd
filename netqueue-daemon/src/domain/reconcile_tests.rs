//! Incidents of counters that do not agree, and of namespaces that come and go.

use super::*;
use crate::domain::KernelCounter::ListenDrops;

const POD: Netns = Netns(1);

fn all(value: u64) -> PerCounter<u64> {
    PerCounter::from_fn(|_| value)
}

/// The kernel stands at `kernel`, of which `before` to `after` are attributed; a known thread is still there.
fn reading(before: u64, kernel: u64, after: u64) -> Sample {
    Sample {
        bracket: Bracket { before: all(before), kernel: all(kernel), after: all(after) },
        evidence: Evidence { traffic: [kernel; 4], witnessed: true },
        last_try: true,
    }
}

fn unwitnessed(attributed: u64, kernel: u64) -> Sample {
    let mut reading = reading(attributed, kernel, attributed);
    reading.evidence.witnessed = false;
    reading
}

fn at(seconds: u64) -> Timestamp {
    Timestamp::from_nanos(seconds)
}

fn compared(reconciler: &mut Reconciler, reading: &Sample) -> CounterBalance {
    let compared = reconciler.compare(POD, reading, at(9));
    compared.balance.expect("it is known from where").counters.get(ListenDrops)
}

fn attached_when_the_kernel_stood_at_1000() -> Reconciler {
    let mut reconciler = Reconciler::default();
    assert!(reconciler.set_baseline(POD, &reading(0, 1000, 0), at(1)));
    reconciler
}

#[test]
fn drops_while_reading_are_not_a_residual() {
    let mut reconciler = attached_when_the_kernel_stood_at_1000();
    assert_eq!(
        compared(&mut reconciler, &reading(40, 1050, 60)),
        CounterBalance { kernel: 1050, since_attach: 50, attributed: 50, uncertain: 0, residual: 0 }
    );
}

#[test]
fn what_no_listener_was_charged_with_is_left_over() {
    let mut reconciler = attached_when_the_kernel_stood_at_1000();
    assert_eq!(
        compared(&mut reconciler, &reading(40, 1050, 45)),
        CounterBalance { kernel: 1050, since_attach: 50, attributed: 45, uncertain: 0, residual: 5 }
    );
}

#[test]
fn charging_too_much_shows_too() {
    let mut reconciler = attached_when_the_kernel_stood_at_1000();
    assert_eq!(compared(&mut reconciler, &reading(51, 1050, 51)).residual, -1);
}

#[test]
fn a_baseline_taken_while_drops_go_on_is_uncertain_until_a_quiet_moment_tells() {
    let mut reconciler = Reconciler::default();
    assert!(!reconciler.set_baseline(POD, &reading(0, 1000, 3), at(1)));
    let balance = |reconciler: &mut Reconciler, reading: Sample| {
        let balance = reconciler.compare(POD, &reading, at(2)).balance.expect("it has a baseline");
        (balance.counters.get(ListenDrops).residual, balance.certain)
    };
    assert_eq!(balance(&mut reconciler, reading(10, 1012, 14)), (0, false));
    assert_eq!(
        balance(&mut reconciler, reading(20, 1019, 20)),
        (0, true),
        "one of the 3 came before the kernel's"
    );
    assert_eq!(balance(&mut reconciler, reading(20, 1020, 20)), (1, true));
}

#[test]
fn a_namespace_first_seen_under_a_flood_with_anothers_charges_has_no_residual_later() {
    let mut reconciler = Reconciler::default();
    // 19 were another life's; while this one is read first, 13 drops come.
    let balance = reconciler.compare(POD, &reading(117, 100, 130), at(1)).balance.expect("last try");
    assert!(balance.is_exact() && !balance.certain);
    let later = compared(&mut reconciler, &reading(219, 200, 219));
    assert_eq!((later.uncertain, later.residual), (-19, 0));
}

#[test]
fn a_drop_under_way_is_waited_for_and_a_residual_that_stays_is_not() {
    let mut reconciler = attached_when_the_kernel_stood_at_1000();
    let under_way = Sample { last_try: false, ..reading(49, 1050, 49) };
    assert!(!reconciler.compare(POD, &under_way, at(2)).settled);
    assert!(reconciler.compare(POD, &Sample { last_try: true, ..under_way }, at(3)).settled);
    assert!(reconciler.compare(POD, &under_way, at(4)).settled, "it was the same before");
}

#[test]
fn a_namespace_made_after_attach_is_compared_from_zero() {
    let mut reconciler = Reconciler::default();
    let first = reconciler.compare(POD, &reading(24, 24, 24), at(2));
    let balance = first.balance.expect("it agrees");
    assert!(first.settled && balance.is_exact() && balance.certain);
    assert_eq!(
        compared(&mut reconciler, &reading(24, 25, 24)).residual,
        1,
        "from then on nothing is excused"
    );
}

#[test]
fn a_namespace_that_appears_with_a_history_sets_it_aside_and_says_so() {
    let mut reconciler = Reconciler::default();
    let first = Sample { last_try: false, ..reading(3, 1003, 3) };
    assert_eq!(reconciler.compare(POD, &first, at(2)).balance, None, "it may be under way");
    let balance =
        reconciler.compare(POD, &reading(3, 1003, 3), at(3)).balance.expect("that was the last try");
    assert!(balance.is_exact() && !balance.certain);
    assert_eq!(
        compared(&mut reconciler, &reading(10, 1012, 10)),
        CounterBalance { kernel: 1012, since_attach: 1012, attributed: 10, uncertain: 1000, residual: 2 }
    );
}

#[test]
fn an_inode_used_again_is_another_namespace_and_counts_from_zero() {
    let mut reconciler = attached_when_the_kernel_stood_at_1000();
    assert_eq!(compared(&mut reconciler, &reading(24, 1024, 24)).residual, 0);
    let next = reconciler.compare(POD, &unwitnessed(24 + 7, 7), at(10));
    assert_eq!(next.replaced, Some(at(9)));
    let balance = next.balance.expect("it agrees");
    assert!(balance.is_exact() && balance.certain);
    let drops = balance.counters.get(ListenDrops);
    assert_eq!((drops.kernel, drops.since_attach, drops.attributed), (7, 7, 7));
}

#[test]
fn an_inode_used_again_is_seen_by_its_traffic_too() {
    let mut reconciler = Reconciler::default();
    let mut quiet = reading(0, 0, 0);
    quiet.evidence.traffic = [500; 4];
    assert!(reconciler.compare(POD, &quiet, at(1)).settled);
    quiet.evidence.traffic = [500, 499, 500, 500];
    assert_eq!(reconciler.compare(POD, &quiet, at(2)).replaced, Some(at(1)));
}

#[test]
fn what_a_dead_namespace_was_charged_after_the_last_look_does_not_burden_the_next_one() {
    let mut reconciler = Reconciler::default();
    assert_eq!(compared(&mut reconciler, &reading(24, 24, 24)).residual, 0);
    // Two resets when its sockets were closed; then 5 drops in the next namespace.
    let balance = reconciler.compare(POD, &unwitnessed(24 + 2 + 5, 5), at(10)).balance.expect("last try");
    assert!(balance.is_exact() && !balance.certain);
    assert_eq!(balance.counters.get(ListenDrops).uncertain, -2);
}

#[test]
fn one_that_was_gone_before_it_was_found_does_not_burden_the_next_one_either() {
    for (kernel, attributed) in [(5, 24 + 5), (24 + 5, 24 + 5)] {
        let mut reconciler = Reconciler::default();
        // Never found: gone, or hidden.
        reconciler.end(POD, all(24));
        let next = reconciler.compare(POD, &unwitnessed(attributed, kernel), at(10));
        assert!(next.balance.is_some_and(|balance| balance.is_exact() && balance.certain), "{kernel}");
    }
}

#[test]
fn a_death_that_was_seen_leaves_no_doubt() {
    let mut reconciler = Reconciler::default();
    assert_eq!(compared(&mut reconciler, &reading(24, 24, 24)).residual, 0);
    reconciler.end(POD, all(26));
    let next = reconciler.compare(POD, &unwitnessed(26 + 5, 5), at(10));
    assert!(next.balance.is_some_and(|balance| balance.is_exact() && balance.certain));
}

#[test]
fn a_new_namespace_that_outgrew_the_old_one_unseen_is_told_by_the_missing_witness() {
    let mut reconciler = Reconciler::default();
    assert_eq!(compared(&mut reconciler, &reading(24, 24, 24)).residual, 0);
    let outgrown = unwitnessed(24 + 30, 30);
    let next = reconciler.compare(POD, &outgrown, at(10));
    assert_eq!(next.replaced, Some(at(9)));
    assert!(next.balance.is_some_and(|balance| balance.is_exact() && !balance.certain), "a guess is said");
}

#[test]
fn a_new_namespace_that_outgrew_the_old_one_under_a_flood_is_told_when_the_flood_ends() {
    let mut reconciler = Reconciler::default();
    assert_eq!(compared(&mut reconciler, &reading(4, 4, 4)).residual, 0);
    let mut flood = reading(90, 100, 110);
    flood.evidence.witnessed = false;
    assert_eq!(compared(&mut reconciler, &flood).residual, 0);
    assert_eq!(
        compared(&mut reconciler, &reading(190, 200, 210)).residual,
        0,
        "its own threads bear witness"
    );
    let next = reconciler.compare(POD, &reading(304, 300, 304), at(10));
    assert_eq!(next.replaced, Some(at(9)));
    let balance = next.balance.expect("it fits");
    assert!(balance.is_exact() && !balance.certain);
    assert_eq!(balance.counters.get(ListenDrops).attributed, 300);
}

#[test]
fn with_a_witness_the_same_is_a_defect_and_shown() {
    let mut reconciler = Reconciler::default();
    assert_eq!(compared(&mut reconciler, &reading(24, 24, 24)).residual, 0);
    assert_eq!(compared(&mut reconciler, &reading(54, 30, 54)).residual, -24);
}

#[test]
fn a_doubt_ends_with_a_quiet_look_at_numbers_that_agree() {
    let mut reconciler = Reconciler::default();
    assert_eq!(compared(&mut reconciler, &reading(24, 24, 24)).residual, 0);
    assert_eq!(compared(&mut reconciler, &unwitnessed(30, 30)).residual, 0);
    assert_eq!(compared(&mut reconciler, &reading(40, 35, 40)).residual, -5);
}

#[test]
fn a_lost_witness_alone_excuses_nothing() {
    let mut reconciler = Reconciler::default();
    assert_eq!(compared(&mut reconciler, &reading(24, 24, 24)).residual, 0);
    let next = reconciler.compare(POD, &unwitnessed(24, 30), at(10));
    assert_eq!((next.replaced, next.balance.is_some_and(|balance| balance.is_exact())), (None, false));
}
