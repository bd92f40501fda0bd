//! A network namespace of its own for each experiment.
//! A thread inside the namespace runs the work passed to it. Nothing remains when the value is dropped and
//! its sockets are closed. The caller's own namespace is never changed.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::sync::mpsc::{self, Sender};
use std::thread;

use anyhow::{Context, Result, anyhow, bail};
use nix::errno::Errno;
use nix::sched::{CloneFlags, unshare};

use super::counters::{self, Counters};
use super::netlink;

type Job = Box<dyn FnOnce() + Send>;

/// A fresh network namespace, with loopback up.
pub(super) struct Netns {
    inode: u64,
    jobs: Sender<Job>,
}

impl Netns {
    /// Creates the namespace.
    pub(super) fn create() -> Result<Self> {
        let (jobs, inbox) = mpsc::channel::<Job>();
        let (ready, inode) = mpsc::sync_channel(1);
        thread::Builder::new()
            .name("lab-netns".into())
            .spawn(move || {
                let entered = enter_new();
                let usable = entered.is_ok();
                let told = ready.send(entered).is_ok();
                if usable && told {
                    inbox.into_iter().for_each(|job| job());
                }
            })
            .context("cannot start the thread of the namespace")?;
        let inode = inode.recv().context("the thread of the namespace died")??;
        Ok(Self { inode, jobs })
    }

    /// The inode number of the namespace, as in `/proc/PID/ns/net`.
    pub(super) fn inode(&self) -> u64 {
        self.inode
    }

    /// Runs `work` in the namespace and returns its result.
    pub(super) fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let (done, result) = mpsc::sync_channel(1);
        let job: Job = Box::new(move || {
            // The receiver waits below in any case.
            let _ = done.send(work());
        });
        self.jobs.send(job).map_err(|_| anyhow!("the thread of the namespace died earlier"))?;
        result.recv().context("the thread of the namespace panicked")?
    }

    /// Reads the namespace's current counters.
    pub(super) fn counters(&self) -> Result<Counters> {
        self.run(counters::of_this_thread)
    }
}

/// Moves the calling thread to a new namespace and returns its inode number.
fn enter_new() -> Result<u64> {
    match unshare(CloneFlags::CLONE_NEWNET) {
        Ok(()) => {}
        Err(Errno::EPERM) => bail!(
            "cannot create a network namespace: permission denied. The lab makes namespaces and raw sockets of its own: run it as root \
             (sudo netqueue lab ...)"
        ),
        Err(Errno::EINVAL) => bail!("this kernel has no network namespaces (CONFIG_NET_NS)"),
        Err(error) => bail!("cannot create a network namespace: {error}"),
    }
    netlink::loopback_up()?;
    let link = "/proc/thread-self/ns/net";
    Ok(fs::metadata(link).with_context(|| format!("cannot read {link}"))?.ino())
}
