//! Checks one listener's row: identities of any row, and the experiment's counts and breakdown.

use super::disagreement;
use crate::counters::{Counter, Counters};
use crate::expectation::{Amount, ExpectedListener, cause};
use netqueue_api::{Listener, Part};

/// Checks the identities that every listener's row must satisfy.
pub(super) fn identities(row: &Listener) -> Vec<String> {
    let full = row.drops.by_cause.iter().filter(|part| part.cause == cause::ACCEPT_QUEUE_FULL);
    let full = full.map(|part| part.count).sum::<u64>() + row.syncookie_helper_overflows;
    let counter = |counter: Counter| row.counter(counter.as_str());
    let checks = [
        (
            "the sum of its drops by cause",
            row.drops.parts().map(|part| part.count).sum(),
            "its drops",
            row.drops.total,
        ),
        ("its drops", row.drops.total, "its ListenDrops", counter(Counter::ListenDrops)),
        (
            "its accept_queue_full drops and its overflows by the cookie helper",
            full,
            "its ListenOverflows",
            counter(Counter::ListenOverflows),
        ),
        (
            "the sum of its resets by cause",
            row.resets.parts().map(|part| part.count).sum(),
            "its resets",
            row.resets.total,
        ),
        ("its resets", row.resets.total, "its OutRsts", counter(Counter::OutRsts)),
    ];
    let unequal = checks.into_iter().filter(|(_, left, _, right)| left != right);
    let mut problems: Vec<String> = unequal
        .map(|(left_name, left, right_name, right)| {
            format!("{row}: {left_name} ({left}) should equal {right_name} ({right})")
        })
        .collect();
    if row.port == Some(0) {
        problems.push(format!(
            "{row}: nobody listens on port 0, and {} drops are charged to it",
            row.drops.total
        ));
    }
    problems
}

/// Compares the listener's row with the experiment's expectation.
pub(super) fn check(expected: &ExpectedListener, kernel: &Counters, rows: &[Listener]) -> Vec<String> {
    let address = expected.address;
    let mut found: Vec<&Listener> = rows.iter().filter(|row| row.is_listener_at(address)).collect();
    if found.len() > 1 {
        // Other listeners on the same address do not matter as long as nothing is charged to them.
        found.retain(|row| row.counted_anything());
    }
    let [row] = found[..] else {
        return vec![format!("netqueue shows {} listeners for {address}, there is 1", found.len())];
    };
    let mut problems = Vec::new();
    if expected.sole {
        let foreign = |counter: &Counter| row.counter(counter.as_str()) != kernel.get(*counter);
        let sentence = |counter: Counter| {
            let (said, counted) = (row.counter(counter.as_str()), kernel.get(counter));
            format!("{row}: {} is {said}, all {counted} were this listener's", counter.as_str())
        };
        problems.extend(Counter::ALL.into_iter().filter(foreign).map(sentence));
    }
    let shares = expected.drops.iter().map(|share| (share.cause, share.stages, share.amount));
    let parts: Vec<_> = row.drops.parts().collect();
    problems.extend(split(&format!("{row}: drops"), row.drops.total, &parts, shares, kernel));
    if let Some(resets) = &expected.resets {
        let shares = resets.iter().map(|(cause, amount)| (*cause, &[] as &[&str], *amount));
        let parts: Vec<_> = row.resets.parts().collect();
        problems.extend(split(&format!("{row}: resets"), row.resets.total, &parts, shares, kernel));
    }
    problems
}

/// Compares a breakdown with its expected shares, which must cover it completely.
/// An expected share without stages matches any stage.
fn split<'a>(
    what: &str,
    total: u64,
    parts: &[Part<'_>],
    shares: impl Iterator<Item = (&'a str, &'a [&'a str], Amount)>,
    kernel: &Counters,
) -> Vec<String> {
    let mut problems = Vec::new();
    let mut explained = 0;
    for (cause, stages, amount) in shares {
        let at =
            |stage: Option<&str>| stages.is_empty() || stage.is_some_and(|stage| stages.contains(&stage));
        let shared = parts.iter().filter(|part| part.cause == cause && at(part.stage));
        let count = shared.map(|part| part.count).sum();
        explained += count;
        if let Some(wrong) = disagreement(count, amount, kernel) {
            let stages = if stages.is_empty() { String::new() } else { format!(" at {}", stages.join("+")) };
            problems.push(format!("{what} {cause}{stages}: {wrong}"));
        }
    }
    if explained != total {
        let said: Vec<_> = parts.iter().map(ToString::to_string).collect();
        problems.push(format!(
            "{what}: {total}, of which the experiment explains {explained}; netqueue says {}",
            said.join(", ")
        ));
    }
    problems
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::expectation::{Share, stage};
    use crate::samples::row;

    fn expected(stages: &'static [&'static str]) -> ExpectedListener {
        let amount = Amount::All(Counter::ListenDrops);
        ExpectedListener {
            address: "0.0.0.0:80".parse().unwrap(),
            drops: vec![Share { cause: cause::ACCEPT_QUEUE_FULL, stages, amount }],
            resets: Some(vec![]),
            sole: true,
        }
    }

    fn counted(drops: u64) -> Counters {
        let mut counters = Counters::default();
        counters.set(Counter::ListenOverflows, drops);
        counters.set(Counter::ListenDrops, drops);
        counters
    }

    #[test]
    fn the_right_count_under_the_right_cause_and_stage_agrees() {
        let rows = [row("1", 80, 24), row("2", 81, 0)];
        assert_eq!(check(&expected(stage::SYN), &counted(24), &rows), Vec::<String>::new());
        assert_eq!(check(&expected(stage::ANY), &counted(24), &rows), Vec::<String>::new());
    }

    #[test]
    fn the_right_count_at_the_wrong_stage_does_not() {
        let problems = check(&expected(stage::ACK), &counted(24), &[row("1", 80, 24)]);
        assert_eq!(
            problems,
            [
                "listener 0.0.0.0:80: drops accept_queue_full at ack: 0, expected 24, like ListenDrops",
                "listener 0.0.0.0:80: drops: 24, of which the experiment explains 0; netqueue says 24 accept_queue_full at syn"
            ]
        );
    }

    #[test]
    fn drops_charged_to_another_listener_are_missed_here() {
        let problems = check(&expected(stage::SYN), &counted(24), &[row("1", 80, 23), row("2", 81, 1)]);
        assert_eq!(problems.len(), 3, "{problems:?}");
        assert!(problems[0].contains("ListenOverflows is 23, all 24"));
    }

    #[test]
    fn other_sockets_of_a_group_may_show_nothing() {
        let group = |drops| [row("1", 80, 24), row("2", 80, drops)];
        assert_eq!(check(&expected(stage::SYN), &counted(24), &group(0)), Vec::<String>::new());
        let problems = check(&expected(stage::SYN), &counted(24), &group(1));
        assert_eq!(problems, ["netqueue shows 2 listeners for 0.0.0.0:80, there is 1"]);
    }

    #[test]
    fn a_listener_nobody_names_is_a_problem() {
        let problems = check(&expected(stage::SYN), &counted(24), &[row("1", 81, 24)]);
        assert_eq!(problems, ["netqueue shows 0 listeners for 0.0.0.0:80, there is 1"]);
    }

    #[test]
    fn a_row_must_agree_with_itself() {
        let mut row = row("1", 80, 24);
        assert_eq!(identities(&row), Vec::<String>::new());
        row.drops.total = 25;
        assert_eq!(identities(&row).len(), 2);
    }
}
