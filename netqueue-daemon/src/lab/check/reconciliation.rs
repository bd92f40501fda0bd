//! What netqueue itself says of the namespace's sums: while the namespace lives, nothing may be left over.

use serde::Deserialize;
use std::collections::BTreeMap;

use crate::lab::counters::{Counter, Counters};

/// One namespace's row in the daemon's status.
#[derive(Clone, Debug, Deserialize)]
pub(in crate::lab) struct Reconciliation {
    pub netns_inode: u64,
    presence: String,
    exact: Option<bool>,
    counters: BTreeMap<String, Balance>,
}

#[derive(Clone, Debug, Deserialize)]
struct Balance {
    kernel: u64,
    uncertain: i64,
    residual: i64,
}

/// Compares the namespace's row with what the kernel counted in it since it was made.
pub(in crate::lab) fn check(kernel: &Counters, row: Option<&Reconciliation>) -> Vec<String> {
    // A namespace is found by a search that is cheap rather than prompt: one not compared yet says nothing.
    let Some(row) = row.filter(|row| row.presence == "alive" && row.exact.is_some()) else {
        return Vec::new();
    };
    let wrong = |counter: Counter| {
        let balance = row.counters.get(counter.as_str())?;
        // Below zero, it is what an earlier namespace with its inode was charged last. Above, a charge is missing.
        let right = balance.residual == 0 && balance.uncertain <= 0 && balance.kernel == kernel.get(counter);
        (!right).then(|| {
            format!(
                "status: {}: the kernel counted {}, netqueue read {}, of which {} are left over and {} uncertain",
                counter.as_str(),
                kernel.get(counter),
                balance.kernel,
                balance.residual,
                balance.uncertain
            )
        })
    };
    let exact = (row.exact != Some(true)).then(|| "netqueue's own status is not exact".to_owned());
    Counter::ALL.into_iter().filter_map(wrong).chain(exact).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(kernel: u64, residual: i64, uncertain: i64) -> Reconciliation {
        let balance = serde_json::json!({"kernel": kernel, "since_attach": kernel, "attributed": kernel,
            "uncertain": uncertain, "residual": residual});
        let counters: BTreeMap<_, _> =
            Counter::ALL.map(|counter| (counter.as_str(), balance.clone())).into_iter().collect();
        serde_json::from_value(serde_json::json!({"netns": "4026532201", "netns_inode": 4026532201u64,
            "presence": "alive", "exact": residual == 0, "certain": uncertain == 0, "counters": counters}))
        .unwrap()
    }

    #[test]
    fn a_namespace_in_which_something_was_counted_is_compared_and_exact() {
        let counted = Counters::from_fn(|_| 3);
        assert!(check(&counted, Some(&row(3, 0, 0))).is_empty());
        assert!(check(&counted, Some(&row(3, 0, -2))).is_empty());
        assert_eq!(check(&counted, Some(&row(3, 1, 0))).len(), Counter::ALL.len() + 1);
        assert_eq!(check(&counted, Some(&row(3, 0, 1))).len(), Counter::ALL.len());
        assert_eq!(check(&counted, Some(&row(2, 0, 0))).len(), Counter::ALL.len(), "that is not up to date");
        assert!(check(&counted, None).is_empty(), "it was not found yet");
    }
}
