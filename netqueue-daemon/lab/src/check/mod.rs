//! Compares the kernel's counters, the experiment's expectation, and netqueue's answers.
//! Returns each disagreement as a sentence. Pure: no input or output here.

mod events;
mod listener;
mod reconciliation;

pub(super) use reconciliation::ended;
#[cfg(test)]
pub(super) use reconciliation::tests::row;

use super::counters::{Counter, Counters};
use super::expectation::{Amount, Expectation};
use super::observation::Observation;
use netqueue_api::AccountKind;

/// Checks that the incident happened, by the kernel's counters.
pub(super) fn incident(expectation: &Expectation, kernel: &Counters) -> Vec<String> {
    let wrong = |(counter, amount): &(Counter, Amount)| {
        let wrong = disagreement(kernel.get(*counter), *amount, kernel)?;
        Some(format!(
            "the incident did not happen as it should: the kernel counted {}: {wrong}",
            counter.as_str()
        ))
    };
    expectation.kernel.iter().filter_map(wrong).collect()
}

/// Compares netqueue's answers with the kernel's counters and with the experiment.
pub(super) fn netqueue(expectation: &Expectation, kernel: &Counters, seen: &Observation) -> Vec<String> {
    let mut problems = residuals(kernel, &seen.sum());
    problems.extend(reconciliation::alive(kernel, seen.reconciliation.as_ref()));
    problems.extend(
        seen.rows.iter().filter(|row| row.kind == AccountKind::Listener).flat_map(listener::identities),
    );
    for expected in &expectation.listeners {
        problems.extend(listener::check(expected, kernel, &seen.rows));
    }
    problems.extend(resets(expectation, kernel, seen));
    if let Some(expected) = &expectation.waiting {
        problems.extend(events::waiting(expected, &seen.events));
    }
    problems.extend(events::reasons(&expectation.reasons, &seen.events));
    if let Some(expected) = &expectation.events {
        problems.extend(events::check(expected, &seen.events));
    }
    if !problems.is_empty() {
        problems.extend(seen.warnings.iter().map(|warning| format!("netqueue itself warns: {warning}")));
    }
    problems
}

/// Checks netqueue's central promise: every count of the kernel is attributed, and attributed once.
pub(super) fn residuals(kernel: &Counters, sum: &Counters) -> Vec<String> {
    let differs = |counter: &Counter| kernel.get(*counter) != sum.get(*counter);
    let sentence = |counter: Counter| {
        let (kernel, netqueue) = (kernel.get(counter), sum.get(counter));
        let residual = i128::from(kernel) - i128::from(netqueue);
        format!(
            "{}: the kernel counted {kernel}, netqueue {netqueue} (residual {residual})",
            counter.as_str()
        )
    };
    Counter::ALL.into_iter().filter(differs).map(sentence).collect()
}

/// Compares the resets of the whole namespace, by cause.
fn resets(expectation: &Expectation, kernel: &Counters, seen: &Observation) -> Vec<String> {
    let wrong = |(cause, amount): &(&str, Amount)| {
        let parts = seen.rows.iter().flat_map(|row| &row.resets.by_cause);
        let count = parts.filter(|part| part.cause == *cause).map(|part| part.count).sum();
        let wrong = disagreement(count, *amount, kernel)?;
        Some(format!("resets of cause {cause} in the namespace: {wrong}"))
    };
    expectation.resets.iter().filter_map(wrong).collect()
}

/// Returns the deviation in words, or `None` if the amount is right.
fn disagreement(count: u64, amount: Amount, kernel: &Counters) -> Option<String> {
    let (right, wanted) = match amount {
        Amount::Exactly(wanted) => (count == wanted, wanted.to_string()),
        Amount::AtLeast(wanted) => (count >= wanted, format!("at least {wanted}")),
        Amount::All(counter) => {
            let wanted = kernel.get(counter);
            (count == wanted, format!("{wanted}, like {}", counter.as_str()))
        }
    };
    (!right).then(|| format!("{count}, expected {wanted}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples::row;

    fn counted(overflows: u64, drops: u64) -> Counters {
        let mut counters = Counters::default();
        counters.set(Counter::ListenOverflows, overflows);
        counters.set(Counter::ListenDrops, drops);
        counters
    }

    /// Leaves out the problems that `reconciliation.rs` reports.
    fn but_status(mut problems: Vec<String>) -> Vec<String> {
        problems.retain(|problem| !problem.starts_with("status: "));
        problems
    }

    #[test]
    fn a_drop_that_no_row_accounts_for_is_a_residual() {
        let seen = Observation { rows: vec![row("1", 80, 9), row("2", 81, 2)], ..Observation::default() };
        let expectation = Expectation::default();
        assert_eq!(but_status(netqueue(&expectation, &counted(11, 11), &seen)), Vec::<String>::new());
        let problems = but_status(netqueue(&expectation, &counted(11, 12), &seen));
        assert_eq!(problems, ["ListenDrops: the kernel counted 12, netqueue 11 (residual 1)"]);
        let problems = but_status(netqueue(&expectation, &counted(10, 11), &seen));
        assert_eq!(problems, ["ListenOverflows: the kernel counted 10, netqueue 11 (residual -1)"]);
    }

    #[test]
    fn silence_about_a_namespace_is_no_agreement() {
        assert_eq!(netqueue(&Expectation::default(), &counted(5, 5), &Observation::default()).len(), 3);
    }

    #[test]
    fn a_reset_of_another_cause_is_missed() {
        let expectation =
            Expectation { resets: vec![("no_listener", Amount::Exactly(1))], ..Expectation::default() };
        let seen = Observation { rows: vec![row("1", 80, 0)], ..Observation::default() };
        let problems = netqueue(&expectation, &Counters::default(), &seen);
        assert_eq!(problems, ["resets of cause no_listener in the namespace: 0, expected 1"]);
    }

    #[test]
    fn an_incident_that_did_not_happen_fails() {
        let wants = vec![
            (Counter::ListenDrops, Amount::AtLeast(16)),
            (Counter::ListenOverflows, Amount::All(Counter::ListenDrops)),
            (Counter::OutRsts, Amount::Exactly(0)),
        ];
        let expectation = Expectation { kernel: wants, ..Expectation::default() };
        assert!(incident(&expectation, &counted(16, 16)).is_empty());
        let problems = incident(&expectation, &counted(14, 15));
        assert_eq!(problems.len(), 2);
        assert!(problems[0].ends_with("ListenDrops: 15, expected at least 16"), "{problems:?}");
        assert!(problems[1].ends_with("ListenOverflows: 14, expected 15, like ListenDrops"), "{problems:?}");
    }
}
