//! A second daemon, started by the lab with settings that bring it to its limits.

use std::collections::BTreeMap;
use std::fs;
use std::net::{Ipv4Addr, TcpListener};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, waitpid};
use nix::unistd::Pid;
use serde::Deserialize;

use super::client::Server;
use super::observation;
use super::process::Process;

/// Time limit of a start; on a busy emulated CPU the verifier alone may take a minute.
const READY_WITHIN: Duration = Duration::from_secs(300);
const STOP_WITHIN: Duration = Duration::from_secs(5);

/// The daemon's process, which ends when the value is dropped.
pub(super) struct OwnDaemon {
    process: Child,
    server: Server,
}

/// The events and slots in `/api/v1/status`.
#[derive(Debug, Deserialize)]
pub(super) struct Status {
    pub events: Events,
    pub slots: BTreeMap<String, Slots>,
    pub dropped_ack_cache: DroppedAckCache,
}

#[derive(Debug, Deserialize)]
pub(super) struct Events {
    pub seen: u64,
    pub stored: u64,
    pub suppressed: u64,
    pub lost: BTreeMap<String, u64>,
    pub folded: u64,
}

#[derive(Debug, Deserialize)]
pub(super) struct DroppedAckCache {
    pub capacity: u64,
    pub entered: u64,
    pub forgotten_at_most: u64,
    pub complete: bool,
}

#[derive(Debug, Deserialize)]
pub(super) struct Slots {
    pub capacity: u64,
    pub used: u64,
    pub given_back: u64,
}

impl OwnDaemon {
    /// Starts a daemon with these settings and waits until it is ready.
    pub(super) fn start(settings: &[&str]) -> Result<Self> {
        Self::spawn(settings, |_| Ok(()))
    }

    /// Starts a daemon in the cgroup whose `cgroup.procs` file is `processes`, and waits until it is ready.
    pub(super) fn start_in(processes: &Path, settings: &[&str]) -> Result<Self> {
        Self::spawn(settings, |process| {
            fs::write(processes, process.id().to_string()).context("cannot move the daemon to its cgroup")
        })
    }

    fn spawn(settings: &[&str], prepare: impl FnOnce(&Child) -> Result<()>) -> Result<Self> {
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).and_then(|free| free.local_addr());
        let address = format!("127.0.0.1:{}", port.context("no port is free")?.port());
        let process = Command::new("/proc/self/exe")
            .args(["daemon", "--log.level=warn", "--web.listen-address", &address])
            .args(settings)
            .stdin(Stdio::null())
            .spawn()
            .context("cannot start a daemon")?;
        let mut daemon = Self { process, server: Server::parse(&format!("http://{address}"))? };
        prepare(&daemon.process)?;
        let deadline = Instant::now() + READY_WITHIN;
        while let Err(error) = daemon.server.get("/-/ready") {
            if let Some(status) = daemon.process.try_wait()? {
                bail!("a daemon with {settings:?} ended at once: {status}");
            }
            if Instant::now() > deadline {
                return Err(error.context(format!("a daemon with {settings:?} did not become ready")));
            }
            thread::sleep(Duration::from_millis(50));
        }
        Ok(daemon)
    }

    /// The address at which the daemon answers.
    pub(super) const fn server(&self) -> &Server {
        &self.server
    }

    /// Fetches the daemon's status.
    pub(super) fn status(&self) -> Result<Status> {
        observation::status(&self.server)
    }

    /// Stops the process with SIGSTOP, until [`Self::wake`].
    pub(super) fn freeze(&self) -> Result<()> {
        let pid = self.pid()?;
        kill(pid, Signal::SIGSTOP).context("cannot stop the daemon")?;
        waitpid(pid, Some(WaitPidFlag::WUNTRACED)).context("the daemon did not stop")?;
        Ok(())
    }

    /// Continues the process with SIGCONT.
    pub(super) fn wake(&self) -> Result<()> {
        kill(self.pid()?, Signal::SIGCONT).context("cannot let the daemon go on")
    }

    /// Resident anonymous memory in KiB.
    /// Excludes the program and the maps shared with the kernel, whose sizes are fixed.
    pub(super) fn memory(&self) -> Result<u64> {
        Process::numbered(self.process.id()).kib("RssAnon:")
    }

    fn pid(&self) -> Result<Pid> {
        Ok(Pid::from_raw(i32::try_from(self.process.id())?))
    }
}

impl Drop for OwnDaemon {
    fn drop(&mut self) {
        if let Ok(pid) = self.pid() {
            // The process may have ended by itself.
            let _ = kill(pid, Signal::SIGTERM);
            let deadline = Instant::now() + STOP_WITHIN;
            while matches!(self.process.try_wait(), Ok(None)) && Instant::now() < deadline {
                thread::sleep(Duration::from_millis(10));
            }
        }
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Status {
    /// Checks `seen = delivered + suppressed + lost`; returns a sentence if it is violated.
    pub(super) fn identity(&self) -> Option<String> {
        let Events { seen, stored, suppressed, .. } = self.events;
        let (full, undecodable) = (self.lost("ring_full"), self.lost("undecodable"));
        (seen != stored + suppressed + full + undecodable).then(|| {
            format!(
                "events: {seen} seen are not {stored} delivered, {suppressed} suppressed, {full} lost to a full ring and {undecodable} \
                 undecodable ones"
            )
        })
    }

    /// Number of events lost for `reason`.
    pub(super) fn lost(&self, reason: &str) -> u64 {
        self.events.lost.get(reason).copied().unwrap_or(0)
    }

    /// Usage of the slots of one kind.
    pub(super) fn slots(&self, kind: &str) -> Result<&Slots> {
        self.slots.get(kind).with_context(|| format!("the status tells nothing of {kind}"))
    }
}
