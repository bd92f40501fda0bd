//! State of the processes that should accept, examined while connections wait for accept().
//! With it a verdict names what keeps a process from accepting instead of listing what may.

use std::{sync::Arc, time::Duration};

use serde::{Deserialize, Serialize};

use super::{CgroupInfo, Timestamp};

/// Share of throttled periods from which the quota is what slows a process, in percent.
const MUCH_THROTTLED: u64 = 20;
/// Share of time in which runnable tasks wait for a CPU that is more than ordinary, in percent.
const HIGH_PRESSURE: u32 = 50;
/// Age up to which an OOM kill explains a process that does not accept.
const OOM_MATTERS: Duration = Duration::from_secs(900);

/// State of a listener's owners at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct OwnerState {
    /// Time at which the processes were examined.
    pub at: Timestamp,
    /// Number of processes that share the listener.
    pub sharing: u32,
    /// Processes that were examined, the one that the listener is named after first; not always all.
    pub processes: Vec<ProcessState>,
    /// Place of the first process.
    pub place: Option<Arc<CgroupInfo>>,
    /// State of the first process's cgroup.
    pub cgroup: CgroupState,
}

/// State of one process.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ProcessState {
    /// Process id in the daemon's PID namespace.
    pub pid: u32,
    /// Short name, printable.
    pub name: Arc<str>,
    /// Activity of the main thread.
    pub activity: Option<Activity>,
    /// Start of the series of examinations that found this activity.
    pub since: Timestamp,
    /// Signal that stopped the process, on kernels that report it.
    pub stop_signal: Option<u32>,
    /// Process that traces this one.
    pub tracer: Option<u32>,
    /// Number of threads.
    pub threads: Option<u32>,
    /// True if every examined thread waited in uninterruptible sleep.
    pub all_blocked: Option<bool>,
    /// Number of open descriptors.
    pub open_files: Option<u64>,
    /// Soft limit of open descriptors.
    pub file_limit: Option<u64>,
}

/// Activity of a thread, as the State line of /proc/PID/status has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Activity {
    /// R: runs, or waits for a CPU.
    Running,
    /// S: waits, and a signal wakes it.
    Sleeping,
    /// D: waits for a device or a file system, and no signal wakes it.
    Blocked,
    /// T: stopped by a signal.
    Stopped,
    /// t: stopped by a tracer.
    Traced,
    /// Z or X: has ended.
    Ended,
    /// Any other.
    Other,
}

/// State of a cgroup, with those above it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct CgroupState {
    /// CPU quota; `None` if it could not be read.
    pub quota: Option<CpuQuota>,
    /// Throttling between the last two examinations.
    pub throttling: Option<Throttling>,
    /// True if the cgroup is frozen.
    pub frozen: Option<bool>,
    /// OOM kills that were noticed.
    pub oom: Option<OomKills>,
    /// Share of the last 10 s in which runnable tasks waited for a CPU, in percent.
    pub cpu_pressure: Option<u32>,
}

/// CPU quota of a cgroup.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CpuQuota {
    /// No quota.
    Unlimited,
    /// CPU time that its tasks may use in each period.
    Limited {
        /// CPU time in microseconds.
        quota: u64,
        /// Period in microseconds.
        period: u64,
    },
}

/// Enforcement periods of a CPU quota, and those in which it was used up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Throttling {
    /// Periods in which tasks had to wait for the next one.
    pub throttled: u64,
    /// Periods in which any task ran.
    pub periods: u64,
}

/// OOM kills in a cgroup.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct OomKills {
    /// Number of kills since the cgroup was first examined.
    pub kills: u64,
    /// Time at which the last of them was noticed.
    pub noticed: Timestamp,
}

/// Condition that keeps a process from accepting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hindrance {
    /// The cgroup is frozen.
    Frozen,
    /// A signal stopped the process.
    Stopped,
    /// A tracer stopped the process.
    Traced,
    /// The process has as many descriptors open as it may.
    OutOfFiles,
    /// A process of the cgroup was OOM-killed.
    OomKilled,
    /// The CPU quota is used up.
    Throttled,
    /// The process waits for a device or a file system.
    Blocked,
    /// The tasks of the cgroup wait for CPUs.
    CpuPressure,
}

impl OwnerState {
    /// Returns what keeps the processes from accepting, the most certain cause first.
    #[must_use]
    pub fn hindrances(&self) -> Vec<Hindrance> {
        let cgroup = &self.cgroup;
        let any = |hindrance| self.hindered(hindrance).next().is_some();
        let oom_killed = cgroup.oom.is_some_and(|oom| self.at.since(oom.noticed) <= OOM_MATTERS);
        let throttled = cgroup.throttling.is_some_and(Throttling::is_much);
        let starved = cgroup.cpu_pressure.is_some_and(|percent| percent >= HIGH_PRESSURE);
        [
            (Hindrance::Frozen, cgroup.frozen == Some(true)),
            (Hindrance::Stopped, any(Hindrance::Stopped)),
            (Hindrance::Traced, any(Hindrance::Traced)),
            (Hindrance::OutOfFiles, any(Hindrance::OutOfFiles)),
            (Hindrance::OomKilled, oom_killed),
            (Hindrance::Throttled, throttled),
            (Hindrance::Blocked, any(Hindrance::Blocked)),
            // Throttled tasks wait for CPUs, too: the quota is the cause.
            (Hindrance::CpuPressure, starved && !throttled),
        ]
        .into_iter()
        .filter_map(|(hindrance, found)| found.then_some(hindrance))
        .collect()
    }

    /// Iterates over the processes of which a hindrance holds; none for those of a cgroup.
    pub fn hindered(&self, hindrance: Hindrance) -> impl Iterator<Item = &ProcessState> {
        self.processes.iter().filter(move |process| process.is_hindered(hindrance))
    }
}

impl ProcessState {
    fn is_hindered(&self, hindrance: Hindrance) -> bool {
        match hindrance {
            Hindrance::Stopped => self.activity == Some(Activity::Stopped),
            Hindrance::Traced => self.activity == Some(Activity::Traced),
            Hindrance::OutOfFiles => {
                self.open_files.zip(self.file_limit).is_some_and(|(open, limit)| open >= limit)
            }
            Hindrance::Blocked => self.all_blocked == Some(true),
            Hindrance::Frozen | Hindrance::OomKilled | Hindrance::Throttled | Hindrance::CpuPressure => false,
        }
    }
}

impl Throttling {
    /// Returns the throttling between two readings of the counters, if any period passed.
    #[must_use]
    pub fn between(before: Self, after: Self) -> Option<Self> {
        let periods = after.periods.checked_sub(before.periods).filter(|periods| *periods > 0)?;
        Some(Self { throttled: after.throttled.checked_sub(before.throttled)?, periods })
    }

    const fn is_much(self) -> bool {
        self.throttled > 0 && self.throttled * 100 >= self.periods * MUCH_THROTTLED
    }
}

impl Hindrance {
    /// Returns the word for the hindrance, as the API has it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Frozen => "frozen",
            Self::Stopped => "stopped",
            Self::Traced => "traced",
            Self::OutOfFiles => "out_of_files",
            Self::OomKilled => "oom_killed",
            Self::Throttled => "throttled",
            Self::Blocked => "blocked",
            Self::CpuPressure => "cpu_pressure",
        }
    }
}

impl Activity {
    /// Returns the activity of a State letter.
    #[must_use]
    pub const fn of(letter: char) -> Self {
        match letter {
            'R' => Self::Running,
            'S' | 'I' => Self::Sleeping,
            'D' => Self::Blocked,
            'T' => Self::Stopped,
            't' => Self::Traced,
            'Z' | 'X' => Self::Ended,
            _ => Self::Other,
        }
    }

    /// Returns the word for the activity, as the API has it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Sleeping => "sleeping",
            Self::Blocked => "blocked",
            Self::Stopped => "stopped",
            Self::Traced => "traced",
            Self::Ended => "ended",
            Self::Other => "other",
        }
    }
}

impl CpuQuota {
    /// Returns the quota in CPUs, if there is one.
    #[must_use]
    pub fn cpus(self) -> Option<f64> {
        match self {
            Self::Limited { quota, period } if period > 0 => Some(quota as f64 / period as f64),
            Self::Limited { .. } | Self::Unlimited => None,
        }
    }
}

/// Readers of the files that a state comes from. Pure: text in, value out.
pub mod text {
    use super::{Activity, CpuQuota, Throttling};

    /// Lines of /proc/PID/status.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
    pub struct Status {
        /// Activity of the main thread.
        pub activity: Option<Activity>,
        /// Process that traces this one.
        pub tracer: Option<u32>,
        /// Number of threads.
        pub threads: Option<u32>,
        /// Size of the descriptor table: no fewer descriptors than are open.
        pub table: Option<u64>,
    }

    /// Reads /proc/PID/status.
    #[must_use]
    pub fn status(file: &str) -> Status {
        let value = |name: &str| {
            file.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).map(str::trim)
        };
        let number = |name| value(name).and_then(|value| value.parse::<u64>().ok());
        let small = |name| number(name).and_then(|value| u32::try_from(value).ok());
        Status {
            activity: value("State").and_then(|state| state.chars().next()).map(Activity::of),
            tracer: small("TracerPid").filter(|pid| *pid > 0),
            threads: small("Threads"),
            table: number("FDSize"),
        }
    }

    /// Reads the state of a thread from its stat file. The name before it may contain anything.
    #[must_use]
    pub fn thread(stat: &str) -> Option<Activity> {
        let (_, rest) = stat.rsplit_once(')')?;
        rest.trim_start().chars().next().map(Activity::of)
    }

    /// Reads the signal that stopped a process from its stat file. The last field is `exit_code`, in which
    /// kernels since 5.17 (fs/proc/array.c `do_task_stat`) report it; earlier ones report 0.
    #[must_use]
    pub fn stop_signal(stat: &str) -> Option<u32> {
        let last = stat.trim_end().rsplit(' ').next()?;
        last.parse().ok().filter(|signal| (1..=64).contains(signal))
    }

    /// Reads the soft limit of open files from /proc/PID/limits.
    #[must_use]
    pub fn file_limit(limits: &str) -> Option<u64> {
        let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"))?;
        line.split_ascii_whitespace().next()?.parse().ok()
    }

    /// Reads cpu.max.
    #[must_use]
    pub fn cpu_max(file: &str) -> Option<CpuQuota> {
        let (quota, period) = file.trim().split_once(' ')?;
        let period = period.parse().ok()?;
        match quota {
            "max" => Some(CpuQuota::Unlimited),
            quota => Some(CpuQuota::Limited { quota: quota.parse().ok()?, period }),
        }
    }

    /// Reads cpu.cfs_quota_us and cpu.cfs_period_us, as cgroup version 1 has them. No quota is -1.
    #[must_use]
    pub fn cfs_quota(quota: &str, period: &str) -> Option<CpuQuota> {
        let (quota, period) = (quota.trim().parse::<i64>().ok()?, period.trim().parse().ok()?);
        Some(match u64::try_from(quota) {
            Ok(quota) => CpuQuota::Limited { quota, period },
            Err(_) => CpuQuota::Unlimited,
        })
    }

    /// Reads the counters of cpu.stat, in either version.
    #[must_use]
    pub fn cpu_stat(file: &str) -> Option<Throttling> {
        Some(Throttling { throttled: keyed(file, "nr_throttled")?, periods: keyed(file, "nr_periods")? })
    }

    /// Reads a number of a file with a name and a number on each line, such as memory.events.
    #[must_use]
    pub fn keyed(file: &str, name: &str) -> Option<u64> {
        file.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.trim().parse().ok())
    }

    /// Reads the share of the last 10 s, in percent, from the `some` line of cpu.pressure.
    #[must_use]
    pub fn pressure(file: &str) -> Option<u32> {
        let line = file.lines().find_map(|line| line.strip_prefix("some "))?;
        let share: f64 = line.split(' ').find_map(|part| part.strip_prefix("avg10="))?.parse().ok()?;
        Some(share.round().clamp(0.0, 100.0) as u32)
    }
}

#[cfg(test)]
#[path = "owner_state_tests.rs"]
mod tests;
