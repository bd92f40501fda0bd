//! A made-up /proc and /run/netns for tests.

use std::{
    cell::Cell,
    fs,
    os::unix::fs::{MetadataExt, symlink},
    path::{Path, PathBuf},
};

use super::Roots;
use crate::domain::{KernelCounter, Netns};

/// Removed when dropped.
pub(super) struct Tree {
    root: tempfile::TempDir,
    proc: PathBuf,
    clock: Cell<u64>,
}

impl Tree {
    pub(super) fn new() -> Self {
        let root = tempfile::tempdir().expect("a directory");
        let proc = root.path().join("proc");
        fs::create_dir_all(proc.join("self/ns")).expect("made");
        // Only its device matters.
        fs::write(proc.join("self/ns/net"), "").expect("written");
        fs::create_dir_all(root.path().join("netns")).expect("made");
        Self { root, proc, clock: Cell::new(1) }
    }

    pub(super) fn proc(&self) -> &Path {
        &self.proc
    }

    pub(super) fn roots(&self) -> Roots {
        Roots { proc: self.proc.clone(), names: vec![self.root.path().join("netns")] }
    }

    /// Threads started from now on say so.
    pub(super) fn set_clock(&self, ticks: u64) {
        self.clock.set(ticks);
    }

    /// A process with one thread.
    pub(super) fn process(&self, pid: u32, netns: Netns) {
        self.thread(pid, pid, netns);
    }

    /// A thread, new or moved. The process's own entries are those of the thread with its number.
    pub(super) fn thread(&self, pid: u32, tid: u32, netns: Netns) {
        let process = self.proc.join(pid.to_string());
        self.task(&process.join("task").join(tid.to_string()), tid, netns);
        if pid == tid {
            self.task(&process, tid, netns);
        }
    }

    fn task(&self, task: &Path, tid: u32, netns: Netns) {
        fs::create_dir_all(task.join("ns")).expect("made");
        fs::create_dir_all(task.join("net")).expect("made");
        let link = task.join("ns/net");
        let _first = fs::remove_file(&link);
        symlink(format!("net:[{}]", netns.0), &link).expect("linked");
        let stat = format!("{tid} (a) b) S {} {} 0", ["0"; 18].join(" "), self.clock.get());
        fs::write(task.join("stat"), stat).expect("written");
    }

    pub(super) fn cgroup(&self, pid: u32, text: &str) {
        fs::write(self.proc.join(pid.to_string()).join("cgroup"), text).expect("written");
    }

    /// What a thread's namespace has counted: so many of everything.
    pub(super) fn counts(&self, pid: u32, tid: u32, number: u64) {
        let net = self.proc.join(format!("{pid}/task/{tid}/net"));
        let names = KernelCounter::ALL.map(KernelCounter::as_str).join(" ");
        let values = format!(" {number}").repeat(KernelCounter::ALL.len());
        let netstat = format!("TcpExt: {names}\nTcpExt:{values}\n");
        fs::write(net.join("netstat"), netstat).expect("written");
        let snmp = format!("Tcp: InSegs OutSegs OutRsts\nTcp:{}\n", format!(" {number}").repeat(3));
        fs::write(net.join("snmp"), snmp).expect("written");
    }

    /// The process and all its threads end.
    pub(super) fn end(&self, pid: u32) {
        fs::remove_dir_all(self.proc.join(pid.to_string())).expect("it was there");
    }

    /// Names a namespace of the file system's choice, and says which.
    pub(super) fn name(&self, name: &str) -> Netns {
        let file = self.root.path().join("netns").join(name);
        fs::write(&file, "").expect("written");
        let inode = fs::metadata(&file).expect("it is there").ino();
        Netns(u32::try_from(inode).expect("a small file system"))
    }

    pub(super) fn unname(&self, name: &str) {
        fs::remove_file(self.root.path().join("netns").join(name)).expect("it was there");
    }
}
