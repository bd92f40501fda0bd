//! Namespaces that ended, and netqueue's report of each.
//! The kernel reuses the inode number of an ended namespace at once; netqueue must not confuse the two.

use std::collections::{BTreeMap, HashSet};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Result;

use netqueue_api::Reconciliation;

use super::check;
use super::client::Server;
use super::counters::Counters;
use super::observation;

/// Time limit for the kernel to end abandoned namespaces and for netqueue to notice.
/// The kernel cleans up after one namespace at a time, and waits for every CPU each time.
const WITHIN: Duration = Duration::from_secs(60);

/// The final counters of namespaces that no process uses any more.
pub(super) struct Endings {
    /// Inode numbers and generations that netqueue reported before the experiment.
    known: HashSet<(u64, u64)>,
    /// Final counters by inode number, in the order of the namespaces that had it.
    lives: Mutex<BTreeMap<u64, Vec<Counters>>>,
}

impl Endings {
    /// Starts without namespaces, and records those that netqueue already reports.
    /// The namespace of the previous experiment may still be about to end: netqueue reports it by its
    /// listeners, even if nothing was counted in it and it was never compared.
    pub(super) fn begin(server: Option<&Server>) -> Result<Self> {
        let Some(server) = server else { return Ok(Self { known: HashSet::new(), lives: Mutex::default() }) };
        let compared = observation::reconciliation(server)?;
        let compared = compared.iter().map(namespace);
        let known = observation::namespaces_of_listeners(server)?.into_iter().chain(compared).collect();
        Ok(Self { known, lives: Mutex::default() })
    }

    /// Adds a namespace that is about to end, with its counters.
    /// Call this before the namespace is abandoned, while its inode number is still its own.
    pub(super) fn add(&self, inode: u64, counted: Counters) {
        let mut lives = self.lives.lock().unwrap_or_else(PoisonError::into_inner);
        lives.entry(inode).or_default().push(counted);
    }

    /// The number of namespaces, and the number of inode numbers they had.
    pub(super) fn numbers(&self) -> (usize, usize) {
        let lives = self.lives.lock().unwrap_or_else(PoisonError::into_inner);
        (lives.values().map(Vec::len).sum(), lives.len())
    }

    /// Waits until netqueue has compared all of them at their ends.
    /// Returns the deviations that remain at the time limit.
    pub(super) fn check(&self, server: &Server) -> Result<Vec<String>> {
        let deadline = Instant::now() + WITHIN;
        loop {
            let problems = self.compare(observation::reconciliation(server)?);
            if problems.is_empty() || Instant::now() > deadline {
                return Ok(problems);
            }
            thread::sleep(Duration::from_millis(200));
        }
    }

    fn compare(&self, mut rows: Vec<Reconciliation>) -> Vec<String> {
        rows.retain(|row| !self.known.contains(&namespace(row)));
        rows.sort_by_key(|row| row.netns_generation);
        let lives = self.lives.lock().unwrap_or_else(PoisonError::into_inner);
        let of_inode = |(inode, lives): (&u64, &Vec<Counters>)| {
            let mut rows = rows.iter().filter(|row| u64::from(row.netns_inode) == *inode);
            let mut problems: Vec<String> = lives
                .iter()
                .enumerate()
                .flat_map(|(index, counted)| {
                    let wrong = check::ended(counted, rows.next()).into_iter();
                    wrong.map(move |wrong| format!("namespace {} with inode {inode}: {wrong}", index + 1))
                })
                .collect();
            let more = rows.count();
            if more > 0 {
                problems.push(format!(
                    "netqueue knows {more} more namespaces with inode {inode} than there were"
                ));
            }
            problems
        };
        lives.iter().flat_map(of_inode).collect()
    }
}

/// Returns the inode number and the generation of a compared namespace.
fn namespace(row: &Reconciliation) -> (u64, u64) {
    (row.netns_inode.into(), row.netns_generation.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::row;

    #[test]
    fn each_of_those_that_had_a_number_has_its_own_counts_in_their_order() {
        let endings = Endings { known: [(7, 1)].into(), lives: Mutex::default() };
        for counted in [3, 5] {
            endings.add(7, Counters::from_fn(|_| counted));
        }
        assert_eq!(endings.numbers(), (2, 1));
        let said = |generation, kernel| row(7, generation, kernel, 0, "ended");
        assert_eq!(endings.compare(vec![said(1, 99), said(9, 5), said(4, 3)]), Vec::<String>::new());
        assert!(!endings.compare(vec![said(4, 5), said(9, 3)]).is_empty(), "swapped");
        assert_eq!(endings.compare(vec![said(4, 3)]).len(), 1, "one is missing");
        assert_eq!(endings.compare(vec![said(4, 3), said(9, 5), said(12, 0)]).len(), 1, "one too many");
    }
}
