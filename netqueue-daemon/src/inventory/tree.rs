//! Imitation of /proc for tests.

use std::{
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
};

use netqueue_domain::KernelCounter;

/// Directory, removed when dropped.
pub(crate) struct Tree {
    _root: tempfile::TempDir,
    proc: PathBuf,
}

impl Tree {
    pub(crate) fn new() -> Self {
        let root = tempfile::tempdir().expect("a directory");
        let proc = root.path().join("proc");
        fs::create_dir_all(proc.join("self")).expect("made");
        Self { _root: root, proc }
    }

    pub(crate) fn proc(&self) -> &Path {
        &self.proc
    }

    /// Adds a process with one thread.
    pub(crate) fn process(&self, pid: u32, inode: u32) {
        self.thread(pid, pid, inode);
    }

    /// Adds or moves a thread. The process's own entries are those of the thread with its number.
    pub(crate) fn thread(&self, pid: u32, tid: u32, inode: u32) {
        let process = self.proc.join(pid.to_string());
        self.task(&process.join("task").join(tid.to_string()), inode);
        if pid == tid {
            self.task(&process, inode);
        }
    }

    fn task(&self, task: &Path, inode: u32) {
        fs::create_dir_all(task.join("ns")).expect("made");
        fs::create_dir_all(task.join("net")).expect("made");
        let link = task.join("ns/net");
        let _first = fs::remove_file(&link);
        symlink(format!("net:[{}]", inode), &link).expect("linked");
    }

    pub(crate) fn cgroup(&self, pid: u32, text: &str) {
        fs::write(self.proc.join(pid.to_string()).join("cgroup"), text).expect("written");
    }

    /// Sets every counter of a thread's namespace to `number`.
    pub(crate) fn counts(&self, pid: u32, tid: u32, number: u64) {
        let net = self.proc.join(format!("{pid}/task/{tid}/net"));
        let names = KernelCounter::ALL.map(KernelCounter::as_str).join(" ");
        let values = format!(" {number}").repeat(KernelCounter::ALL.len());
        let netstat = format!("TcpExt: {names}\nTcpExt:{values}\n");
        fs::write(net.join("netstat"), netstat).expect("written");
        let snmp = format!("Tcp: InSegs OutSegs OutRsts\nTcp:{}\n", format!(" {number}").repeat(3));
        fs::write(net.join("snmp"), snmp).expect("written");
    }

    /// Lets the reverse-path filter have dropped `number` packets in a thread's namespace, after
    /// [`Self::counts`].
    pub(crate) fn reverse_path_filter(&self, pid: u32, tid: u32, number: u64) {
        let file = self.proc.join(format!("{pid}/task/{tid}/net/netstat"));
        let text = fs::read_to_string(&file).expect("written");
        let (own, _) = text.split_once("TcpExt: IPReverse").unwrap_or((&text, ""));
        fs::write(file, format!("{own}TcpExt: IPReversePathFilter\nTcpExt: {number}\n")).expect("written");
    }

    /// Ends a process and all its threads.
    pub(crate) fn end(&self, pid: u32) {
        fs::remove_dir_all(self.proc.join(pid.to_string())).expect("it was there");
    }

    /// Binds a file of `ip netns` to a namespace; it cannot be opened.
    pub(crate) fn name(&self, name: &str, inode: u32) {
        let line = format!("601 24 0:4 net:[{inode}] /run/netns/{name} rw shared:300 - nsfs nsfs rw\n");
        fs::write(self.proc.join("self/mountinfo"), line).expect("written");
    }

    pub(crate) fn unname(&self) {
        fs::remove_file(self.proc.join("self/mountinfo")).expect("it was there");
    }
}
