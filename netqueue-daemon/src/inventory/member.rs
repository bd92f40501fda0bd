//! A thread that lives in a namespace: through it the namespace's counters can be read without entering it.

use std::{
    fs,
    path::{Path, PathBuf},
};

use super::netns;
use crate::domain::Netns;

/// A thread, told from others that have its number later by when it started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Member {
    process: u32,
    thread: u32,
    /// Clock ticks since boot.
    started: u64,
}

impl Member {
    /// The thread with these numbers, if there is one.
    pub(super) fn of(proc: &Path, process: u32, thread: u32) -> Option<Self> {
        let started = started(&directory(proc, process, thread))?;
        Some(Self { process, thread, started })
    }

    /// Its directory.
    pub(super) fn directory(&self, proc: &Path) -> PathBuf {
        directory(proc, self.process, self.thread)
    }

    /// Whether this very thread is in the namespace now.
    pub(super) fn is_in(&self, proc: &Path, netns: Netns) -> bool {
        let directory = self.directory(proc);
        netns::of_task(&directory).is_ok_and(|its| its == netns) && started(&directory) == Some(self.started)
    }
}

fn directory(proc: &Path, process: u32, thread: u32) -> PathBuf {
    proc.join(process.to_string()).join("task").join(thread.to_string())
}

fn started(directory: &Path) -> Option<u64> {
    const AFTER_NAME: usize = 22 - 3;
    let stat = fs::read(directory.join("stat")).ok()?;
    // The name comes second, in parentheses, and may hold anything.
    let after_name = stat.iter().rposition(|byte| *byte == b')')?;
    let fields = std::str::from_utf8(stat.get(after_name + 1..)?).ok()?;
    fields.split_ascii_whitespace().nth(AFTER_NAME)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inventory::tree::Tree;

    const BLUE: Netns = Netns(4_026_532_201);

    #[test]
    fn a_thread_that_moved_away_or_died_is_no_member() {
        let tree = Tree::new();
        tree.thread(70, 71, BLUE);
        let member = Member::of(tree.proc(), 70, 71).expect("it is there");
        assert!(member.is_in(tree.proc(), BLUE));
        tree.thread(70, 71, Netns(1));
        assert!(!member.is_in(tree.proc(), BLUE));
        tree.end(70);
        assert!(!member.is_in(tree.proc(), BLUE));
        assert_eq!(Member::of(tree.proc(), 70, 71), None);
    }

    #[test]
    fn another_thread_with_its_number_is_not_it() {
        let tree = Tree::new();
        tree.thread(70, 70, BLUE);
        let member = Member::of(tree.proc(), 70, 70).expect("it is there");
        tree.end(70);
        tree.set_clock(99);
        tree.thread(70, 70, BLUE);
        assert!(!member.is_in(tree.proc(), BLUE));
    }
}
