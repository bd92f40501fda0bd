//! Checks the sums that netqueue publishes of a namespace: the residual is 0, and no count is missing.

use netqueue_api::Reconciliation;

use crate::counters::{Counter, Counters};

/// Compares the row of a living namespace with the kernel's counts since its creation.
pub(crate) fn alive(kernel: &Counters, row: Option<&Reconciliation>) -> Vec<String> {
    // A row that is not alive belongs to an earlier namespace with this inode number: netqueue has found
    // nothing in the new one yet.
    let Some(row) = row.filter(|row| row.state == "alive") else {
        let counted = Counter::ALL.into_iter().any(|counter| kernel.get(counter) > 0);
        let missing = "status: the namespace is not compared, though something was counted in it";
        return counted.then(|| missing.to_owned()).into_iter().collect();
    };
    of_row(kernel, row)
}

/// Compares the row of an ended namespace with the kernel's final counts.
pub(crate) fn ended(kernel: &Counters, row: Option<&Reconciliation>) -> Vec<String> {
    let Some(row) = row else {
        return vec!["status: the namespace that ended is not compared".to_owned()];
    };
    let mut problems = of_row(kernel, row);
    if row.state != "ended" || !row.last {
        problems.push(format!(
            "status: the namespace ended, and is said to be {}; its last comparison {} at its end",
            row.state,
            if row.last { "was" } else { "was not" }
        ));
    }
    problems
}

fn of_row(kernel: &Counters, row: &Reconciliation) -> Vec<String> {
    let wrong = |counter: Counter| {
        let balance = row.counters.get(counter.as_str())?;
        let right = balance.residual == 0 && balance.kernel == kernel.get(counter);
        (!right).then(|| {
            format!(
                "status: {}: the kernel counted {}, netqueue read {}, of which {} are left over",
                counter.as_str(),
                kernel.get(counter),
                balance.kernel,
                balance.residual
            )
        })
    };
    let mut problems: Vec<_> = Counter::ALL.into_iter().filter_map(wrong).collect();
    if !row.exact || row.slack > 0 || row.compared_from != "birth" || row.counters.len() < Counter::ALL.len()
    {
        problems.push(format!(
            "status: the namespace was made while netqueue was attached, and is compared from its {} with slack {}: exact {}",
            row.compared_from, row.slack, row.exact
        ));
    }
    problems
}

#[cfg(test)]
pub(crate) mod tests {
    use std::collections::BTreeMap;

    use super::*;

    /// A row as the daemon writes it, with the same values for all counters.
    pub(crate) fn row(
        inode: u32,
        generation: u32,
        kernel: u64,
        residual: i64,
        state: &str,
    ) -> Reconciliation {
        let balance = serde_json::json!({"kernel": kernel, "since_attach": kernel, "attributed": kernel,
            "residual": residual, "charged_since": 0});
        let counters: BTreeMap<_, _> =
            Counter::ALL.map(|counter| (counter.as_str(), balance.clone())).into_iter().collect();
        serde_json::from_value(serde_json::json!({"netns": "4026532201.1", "netns_inode": inode,
            "netns_generation": generation, "state": state, "ended": null, "compared_from": "birth", "compared_since": null,
            "read": "2026-01-01T00:00:00Z", "last": state == "ended", "exact": residual == 0, "slack": 0,
            "counters": counters}))
        .unwrap()
    }

    #[test]
    fn a_namespace_in_which_something_was_counted_is_compared_and_exact() {
        let counted = Counters::from_fn(|_| 3);
        assert_eq!(alive(&counted, Some(&row(7, 1, 3, 0, "alive"))), Vec::<String>::new());
        assert_eq!(alive(&counted, Some(&row(7, 1, 3, 1, "alive"))).len(), Counter::ALL.len() + 1);
        assert_eq!(
            alive(&counted, Some(&row(7, 1, 2, 0, "alive"))).len(),
            Counter::ALL.len(),
            "not up to date"
        );
        assert_eq!(alive(&counted, Some(&row(7, 1, 3, 0, "ended"))).len(), 1);
        assert_eq!(alive(&counted, None).len(), 1);
        let before = row(7, 1, 3, 0, "ended");
        for row in [None, Some(&before)] {
            assert!(alive(&Counters::default(), row).is_empty(), "nothing led to it");
        }
    }

    #[test]
    fn one_that_ended_is_compared_at_its_end() {
        let counted = Counters::from_fn(|_| 3);
        assert_eq!(ended(&counted, Some(&row(7, 1, 3, 0, "ended"))), Vec::<String>::new());
        assert_eq!(ended(&counted, Some(&row(7, 1, 3, 0, "alive"))).len(), 1);
        assert_eq!(ended(&counted, None).len(), 1);
    }
}
