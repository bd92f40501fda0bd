//! Reads the run times of the eBPF programs of all processes (BPF_ENABLE_STATS).
//!
//! The kernel counts them only as long as a process requests it.

use std::{
    collections::BTreeMap,
    fs,
    os::fd::{AsFd as _, AsRawFd as _, OwnedFd},
};

use aya::{
    programs::{ProgramInfo, loaded_programs},
    sys::Stats,
};

use super::kprobe_misses::line;

/// Request to the kernel to count, as long as this value lives.
pub struct RunTimes {
    _counting: OwnedFd,
}

/// Run time of one program since it was loaded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RunTime {
    /// Number of runs counted.
    pub runs: u64,
    /// Nanoseconds of these runs, including the kernel's own reading of the clock.
    pub nanos: u64,
}

impl RunTimes {
    /// Starts counting.
    ///
    /// # Errors
    /// The kernel does not count (before 5.8), or not for this user.
    pub fn count() -> Result<Self, aya::sys::SyscallError> {
        aya::sys::enable_stats(Stats::RunTime).map(|counting| Self { _counting: counting })
    }

    /// Reads the run times of all programs, by program number, with their names.
    #[must_use]
    pub fn read(&self) -> BTreeMap<u32, (String, RunTime)> {
        let of = |program: ProgramInfo| {
            let name = program.name_as_str()?.to_owned();
            let fd = program.fd().ok()?;
            let fdinfo = fs::read_to_string(format!("/proc/self/fdinfo/{}", fd.as_fd().as_raw_fd())).ok()?;
            let word = |name| line(&fdinfo, name)?.parse().ok();
            Some((program.id(), (name, RunTime { runs: word("run_cnt:")?, nanos: word("run_time_ns:")? })))
        };
        loaded_programs().filter_map(|program| of(program.ok()?)).collect()
    }
}
