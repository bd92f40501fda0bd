//! Files of a process's cgroup: quota, throttling, freezer, OOM kills, pressure.
//! Version 2, and version 1 where the controller is there.

use std::{
    fs,
    path::{Path, PathBuf},
};

use netqueue_domain::{CpuQuota, Throttling, owner_state::text};

/// Largest number of cgroups above one that are searched for a quota.
const DEPTH: usize = 12;

/// Places where cgroups are mounted.
#[derive(Debug)]
pub(super) struct CgroupFiles {
    proc: PathBuf,
    /// Mount in the daemon's own mount namespace.
    own: PathBuf,
}

/// One reading of a process's cgroup.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Reading {
    /// Directory that identifies the cgroup.
    pub(super) directory: PathBuf,
    /// Tightest quota of the cgroup and those above.
    pub(super) quota: Option<CpuQuota>,
    /// Counters of the cgroup that has the quota.
    pub(super) throttling: Option<Throttling>,
    pub(super) frozen: Option<bool>,
    pub(super) oom_kills: Option<u64>,
    pub(super) cpu_pressure: Option<u32>,
}

impl CgroupFiles {
    /// Reads processes below `proc`, and cgroups below `own`, the directory above all hierarchies.
    pub(super) fn new(proc: impl Into<PathBuf>, own: impl Into<PathBuf>) -> Self {
        Self { proc: proc.into(), own: own.into() }
    }

    /// Reads the cgroup of a process; `None` if it is not found, or is the root, which limits nothing.
    pub(super) fn read(&self, pid: u32) -> Option<Reading> {
        let lines = fs::read_to_string(self.proc.join(pid.to_string()).join("cgroup")).ok()?;
        let init = fs::read_to_string(self.proc.join("1/cgroup")).unwrap_or_default();
        let directory = |controller: &str, file: &str| self.find(&lines, &init, controller, file);
        let unified = directory("", "cgroup.events");
        let quota = directory("cpu", "cpu.cfs_quota_us").or_else(|| unified.clone()).map(quota);
        let (quota, throttling) = quota.unwrap_or_default();
        let freezer = unified.as_ref().and_then(|unified| number(unified, "cgroup.events", "frozen"));
        let frozen = freezer.map(|frozen| frozen == 1).or_else(|| {
            let state = content(&directory("freezer", "freezer.state")?, "freezer.state")?;
            Some(state.trim() == "FROZEN")
        });
        let oom_kills = directory("memory", "memory.oom_control")
            .and_then(|memory| number(&memory, "memory.oom_control", "oom_kill"))
            .or_else(|| number(unified.as_ref()?, "memory.events", "oom_kill"));
        let cpu_pressure =
            unified.as_ref().and_then(|unified| text::pressure(&content(unified, "cpu.pressure")?));
        let directory = unified.or_else(|| directory("cpu", "cpu.cfs_quota_us"))?;
        Some(Reading { directory, quota, throttling, frozen, oom_kills, cpu_pressure })
    }

    /// Finds the directory of the process's cgroup in the hierarchy of a controller.
    /// An empty controller is version 2. The directory must have `file`.
    fn find(&self, lines: &str, init: &str, controller: &str, file: &str) -> Option<PathBuf> {
        let line = |lines: &str| {
            lines.lines().find_map(|line| {
                let (controllers, path) = line.split_once(':')?.1.split_once(':')?;
                let is_it = controllers.split(',').any(|name| name == controller);
                is_it.then(|| (controllers.to_owned(), path.to_owned()))
            })
        };
        let (controllers, path) = line(lines)?;
        let (path, from_init) = from_root(&path, line(init).map(|(_, path)| path).as_deref())?;
        let path = path.trim_start_matches('/');
        let hosts = self.proc.join("1/root/sys/fs/cgroup");
        // A path that leads out of the daemon's own cgroup namespace is not below its own mount.
        let roots = if from_init { vec![hosts] } else { vec![self.own.clone(), hosts] };
        let hierarchy = if controller.is_empty() { ["", "unified"] } else { [controller, &controllers] };
        let mut places = roots.iter().flat_map(|root| hierarchy.map(|below| root.join(below).join(path)));
        places.find(|place| place.join(file).exists())
    }
}

/// Returns the path from the root of the hierarchy, and true if it is outside the reader's namespace.
/// The kernel then shows it with `/..` for each level between; PID 1's path has as many as lead to the root.
fn from_root<'a>(path: &'a str, init: Option<&str>) -> Option<(&'a str, bool)> {
    let levels = |path: &str| path.split('/').skip(1).take_while(|part| *part == "..").count();
    match levels(path) {
        0 => Some((path, false)),
        above => (above == levels(init?)).then(|| (path.get(above * 3..).unwrap_or(""), true)),
    }
}

/// Returns the tightest quota of a cgroup and those above it, with the counters of the one that has it.
fn quota(leaf: PathBuf) -> (Option<CpuQuota>, Option<Throttling>) {
    let mut tightest: (Option<CpuQuota>, Option<Throttling>) = (None, None);
    for directory in leaf.ancestors().take(DEPTH) {
        let read = content(directory, "cpu.max").and_then(|file| text::cpu_max(&file)).or_else(|| {
            let [quota, period] =
                ["cpu.cfs_quota_us", "cpu.cfs_period_us"].map(|file| content(directory, file));
            text::cfs_quota(&quota?, &period?)
        });
        // The root has no quota.
        let Some(read) = read else { break };
        let is_tighter = match (tightest.0.and_then(CpuQuota::cpus), read.cpus()) {
            (Some(before), Some(now)) => now < before,
            (None, Some(_)) => true,
            (Some(_) | None, None) => tightest.0.is_none(),
        };
        if is_tighter {
            let counters = read.cpus().and_then(|_| text::cpu_stat(&content(directory, "cpu.stat")?));
            tightest = (Some(read), counters);
        }
    }
    tightest
}

fn content(directory: &Path, file: &str) -> Option<String> {
    fs::read_to_string(directory.join(file)).ok()
}

fn number(directory: &Path, file: &str, name: &str) -> Option<u64> {
    text::keyed(&content(directory, file)?, name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(path: PathBuf, text: &str) {
        fs::create_dir_all(path.parent().expect("a parent")).expect("made");
        fs::write(path, text).expect("written");
    }

    #[test]
    fn the_tightest_quota_above_counts_and_what_is_frozen_or_killed_is_seen() {
        let root = tempfile::tempdir().expect("a directory");
        let (proc, own) = (root.path().join("proc"), root.path().join("cgroup"));
        write(proc.join("7/cgroup"), "0::/kubepods/podx/web\n");
        for (cgroup, quota) in [("kubepods", "max"), ("kubepods/podx", "50000"), ("kubepods/podx/web", "max")]
        {
            write(own.join(cgroup).join("cpu.max"), &format!("{quota} 100000\n"));
        }
        write(own.join("kubepods/podx/cpu.stat"), "nr_periods 40\nnr_throttled 31\n");
        let web = own.join("kubepods/podx/web");
        write(web.join("cgroup.events"), "populated 1\nfrozen 1\n");
        write(web.join("memory.events"), "oom 4\noom_kill 3\n");
        write(web.join("cpu.pressure"), "some avg10=12.30 avg60=0.00 avg300=0.00 total=1\n");
        let reading = CgroupFiles::new(&proc, &own).read(7);
        let expected = Reading {
            directory: web,
            quota: Some(CpuQuota::Limited { quota: 50_000, period: 100_000 }),
            throttling: Some(Throttling { throttled: 31, periods: 40 }),
            frozen: Some(true),
            oom_kills: Some(3),
            cpu_pressure: Some(12),
        };
        assert_eq!(reading, Some(expected));
    }

    #[test]
    fn version_1_has_a_hierarchy_for_each_controller() {
        let root = tempfile::tempdir().expect("a directory");
        let (proc, own) = (root.path().join("proc"), root.path().join("cgroup"));
        write(proc.join("7/cgroup"), "5:freezer:/web\n4:memory:/web\n2:cpu,cpuacct:/web\n0::/\n");
        write(own.join("cpu/web/cpu.cfs_quota_us"), "20000\n");
        write(own.join("cpu/web/cpu.cfs_period_us"), "100000\n");
        write(own.join("cpu/web/cpu.stat"), "nr_periods 9\nnr_throttled 8\nthrottled_time 1\n");
        write(own.join("freezer/web/freezer.state"), "FROZEN\n");
        write(own.join("memory/web/memory.oom_control"), "oom_kill_disable 0\nunder_oom 0\noom_kill 2\n");
        let reading = CgroupFiles::new(&proc, &own).read(7).expect("it is found");
        assert_eq!(reading.quota.and_then(CpuQuota::cpus), Some(0.2));
        assert_eq!(reading.throttling, Some(Throttling { throttled: 8, periods: 9 }));
        assert_eq!((reading.frozen, reading.oom_kills, reading.cpu_pressure), (Some(true), Some(2), None));
    }

    #[test]
    fn a_container_reads_the_hosts_cgroups_by_way_of_pid_1() {
        assert_eq!(from_root("/system.slice/web", Some("/init.scope")), Some(("/system.slice/web", false)));
        let outside = from_root("/../../system.slice/web", Some("/../../init.scope"));
        assert_eq!(outside, Some(("/system.slice/web", true)));
        assert_eq!(
            from_root("/../sibling", Some("/../../init.scope")),
            None,
            "its parent's name is not known"
        );
    }
}
