//! Namespaces that ended, and what netqueue says of each: the kernel gives the inode number of one to the next at once,
//! and none may be taken for another.

use std::collections::{BTreeMap, HashSet};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Result;

use super::check::{self, Reconciliation};
use super::client::Server;
use super::counters::Counters;
use super::observation;

/// How long the kernel may take to end namespaces nobody is in any more, and netqueue to notice.
const WITHIN: Duration = Duration::from_secs(20);

/// What namespaces had counted that nobody is in any more.
pub(super) struct Endings {
    /// Inode numbers and generations netqueue knew before.
    known: HashSet<(u64, u64)>,
    /// By inode number, in the order in which they had it.
    lives: Mutex<BTreeMap<u64, Vec<Counters>>>,
}

impl Endings {
    /// None yet. The namespace of the experiment before may still be about to end: netqueue knows it by its listeners, also
    /// where nothing was counted in it and it was never compared.
    pub(super) fn begin(server: Option<&Server>) -> Result<Self> {
        let Some(server) = server else { return Ok(Self { known: HashSet::new(), lives: Mutex::default() }) };
        let compared = observation::reconciliation(server)?;
        let compared = compared.iter().map(|row| (row.netns_inode, row.netns_generation));
        let known = observation::namespaces_of_listeners(server)?.into_iter().chain(compared).collect();
        Ok(Self { known, lives: Mutex::default() })
    }

    /// One more is about to end, with this counted. To be called before it is left, while its number is its own.
    pub(super) fn add(&self, inode: u64, counted: Counters) {
        let mut lives = self.lives.lock().unwrap_or_else(PoisonError::into_inner);
        lives.entry(inode).or_default().push(counted);
    }

    /// How many there were, and how many inode numbers they had.
    pub(super) fn numbers(&self) -> (usize, usize) {
        let lives = self.lives.lock().unwrap_or_else(PoisonError::into_inner);
        (lives.values().map(Vec::len).sum(), lives.len())
    }

    /// Waits until netqueue has compared all of them at their ends, or it had its time; then says where it is wrong.
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
        rows.retain(|row| !self.known.contains(&(row.netns_inode, row.netns_generation)));
        rows.sort_by_key(|row| row.netns_generation);
        let lives = self.lives.lock().unwrap_or_else(PoisonError::into_inner);
        let of_inode = |(inode, lives): (&u64, &Vec<Counters>)| {
            let mut rows = rows.iter().filter(|row| row.netns_inode == *inode);
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lab::check::row;

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
