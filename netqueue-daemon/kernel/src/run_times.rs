//! How long programs run, as the kernel counts it while somebody asks for it (BPF_ENABLE_STATS): of those of all processes.

use std::{
    collections::BTreeMap,
    fs,
    os::fd::{AsFd as _, AsRawFd as _, OwnedFd},
};

use aya::{
    programs::{ProgramInfo, loaded_programs},
    sys::Stats,
};

use super::link_misses::line;

/// The kernel counts as long as this lives.
pub struct RunTimes {
    _counting: OwnedFd,
}

/// Of one program, since it was loaded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RunTime {
    /// How often it ran while it was counted.
    pub runs: u64,
    /// How long together, in nanoseconds; the look at the clock included.
    pub nanos: u64,
}

impl RunTimes {
    /// # Errors
    /// The kernel does not count (before 5.8), or not for everybody.
    pub fn count() -> Result<Self, aya::sys::SyscallError> {
        aya::sys::enable_stats(Stats::RunTime).map(|counting| Self { _counting: counting })
    }

    /// All programs by their number, with their names.
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
