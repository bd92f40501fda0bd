//! Thread in a namespace, through which the namespace's counters can be read without entering it.

use std::path::{Path, PathBuf};

use super::netns;

/// Thread, by its number and that of its process.
/// Numbers are reused: what is read through it counts only if it is in the namespace before and after.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Member {
    pub(super) process: u32,
    pub(super) thread: u32,
}

impl Member {
    /// Returns the directory of the thread.
    pub(super) fn directory(self, proc: &Path) -> PathBuf {
        proc.join(self.process.to_string()).join("task").join(self.thread.to_string())
    }

    /// Returns the inode number of the namespace that the thread is in now.
    pub(super) fn inode(self, proc: &Path) -> Option<u32> {
        netns::of_task(&self.directory(proc)).ok()
    }
}
