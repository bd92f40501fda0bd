//! A thread that lives in a namespace: through it the namespace's counters can be read without entering it.

use std::path::{Path, PathBuf};

use super::netns;

/// A thread, by its number and its process's. Another may have the numbers later: what is read through it counts only
/// if it is in the namespace before and after.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Member {
    pub(super) process: u32,
    pub(super) thread: u32,
}

impl Member {
    /// Its directory.
    pub(super) fn directory(self, proc: &Path) -> PathBuf {
        proc.join(self.process.to_string()).join("task").join(self.thread.to_string())
    }

    /// The inode number of the namespace it is in now.
    pub(super) fn inode(self, proc: &Path) -> Option<u32> {
        netns::of_task(&self.directory(proc)).ok()
    }
}
