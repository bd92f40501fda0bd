//! A daemon in a container of 256 MiB starts regardless of the number of possible CPUs.

use std::fs;
use std::path::{Path, PathBuf};
use std::thread;

use anyhow::{Context, Result};

use super::wait_for;
use crate::check;
use crate::counters::Counter;
use crate::observation::Observation;
use crate::own_daemon::OwnDaemon;

use crate::expectation::{Amount, Expectation, Experiment, Fixture, Scenario};
use crate::sockets::{Listener, PATIENCE, connect_nonblocking};
use crate::sysctl;
use crate::verdict::Skip;

pub(super) const LITTLE_MEMORY: Experiment = Experiment {
    number: "46",
    name: "little-memory",
    incident: "a daemon in a memory cgroup of 256 MiB (the chart's limit), on a machine that may have many more CPUs than it has \
               (cargo xtask vm --possible-cpus 240), and drops on each CPU it has",
    verdict: "the daemon starts within its limit and every drop is counted",
    provoke: Scenario::Watching(little_memory),
};

const LIMIT: u64 = 256 << 20;
const PORT: u16 = 8046;
const CLIENTS: u64 = 4;

fn little_memory(fixture: &Fixture<'_>) -> Result<Expectation> {
    let cgroup = Cgroup::create(LIMIT)?;
    let own = fixture.server.map(|_| OwnDaemon::start_in(&cgroup.0.join("cgroup.procs"), &[])).transpose()?;
    let cpus = thread::available_parallelism().map_or(1, |cpus| cpus.get() as u64);
    let open = fixture.netns.run(move || {
        sysctl::defaults()?;
        let listener = Listener::ipv4(PORT, 0)?;
        let mut sockets = listener.fill(1, false)?;
        // Connect each client from another thread, which the scheduler spreads over the CPUs.
        for _ in 0..cpus {
            let target = listener.loopback();
            let clients = thread::spawn(move || {
                (0..CLIENTS).map(|_| connect_nonblocking(target)).collect::<Result<Vec<_>>>()
            });
            sockets.extend(clients.join().map_err(|_| anyhow::anyhow!("a thread of the lab panicked"))??);
        }
        wait_for(Counter::ListenDrops, cpus * CLIENTS, PATIENCE)?;
        Ok((listener, sockets))
    })?;
    let mut expectation = Expectation {
        kernel: vec![(Counter::ListenDrops, Amount::AtLeast(cpus * CLIENTS))],
        open: vec![Box::new(open)],
        ..Expectation::default()
    };
    if let Some(own) = own {
        let seen = Observation::of(own.server(), fixture.netns.inode())?;
        expectation.problems.extend(check::residuals(&fixture.netns.counters()?, &seen.sum()));
        let (now, possible) = (cgroup.bytes("memory.current")?, possible_cpus());
        let peak =
            cgroup.bytes("memory.peak").map_or_else(|_| "?".to_owned(), |peak| (peak >> 20).to_string());
        expectation.measured.push(format!(
            "possible CPUs: {possible}; the daemon takes {} MiB, {peak} MiB at most, of {} MiB",
            now >> 20,
            LIMIT >> 20
        ));
    }
    Ok(expectation)
}

fn possible_cpus() -> String {
    let list = fs::read_to_string("/sys/devices/system/cpu/possible");
    list.map_or_else(|_| "?".to_owned(), |list| list.trim().to_owned())
}

/// A cgroup with a memory limit, removed when the value is dropped.
struct Cgroup(PathBuf);

impl Cgroup {
    fn create(limit: u64) -> Result<Self> {
        let root = Path::new("/sys/fs/cgroup");
        let missing = || Skip::because("there is no cgroup of version 2 with a memory controller");
        let controllers = fs::read_to_string(root.join("cgroup.controllers")).map_err(|_| missing())?;
        if !controllers.split_whitespace().any(|controller| controller == "memory") {
            return Err(missing());
        }
        fs::write(root.join("cgroup.subtree_control"), "+memory")
            .map_err(|error| Skip::because(format!("the memory controller is not to be had: {error}")))?;
        let path = root.join(format!("netqueue-lab-{}", std::process::id()));
        fs::create_dir(&path).with_context(|| format!("cannot make {}", path.display()))?;
        let cgroup = Self(path);
        fs::write(cgroup.0.join("memory.max"), limit.to_string())
            .context("cannot limit a cgroup's memory")?;
        Ok(cgroup)
    }

    fn bytes(&self, file: &str) -> Result<u64> {
        let path = self.0.join(file);
        let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        text.trim().parse().with_context(|| format!("{} is no number", path.display()))
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        // A process that was just killed may still be in the cgroup, which then remains until the next boot.
        let _ = fs::remove_dir(&self.0);
    }
}
