//! Runs the kernel skipped. A kprobe program does not run while another, or a map operation by system call, is under way
//! on its CPU; a fentry or fexit program does not run on top of itself.
//!
//! The kernel counts them per program and shows them in the descriptor's fdinfo: of kprobes since 6.7, until when the
//! field stays 0, so that it is not shown; of the others since 5.12, before which none of their runs is skipped.

use std::{
    fs,
    os::fd::{AsFd, AsRawFd, OwnedFd},
};

use super::btf::Btf;

/// Whether this kernel counts the skipped runs of kprobe programs. It came together with the same for links.
pub(super) fn counted(btf: &Btf) -> bool {
    btf.offset("bpf_link_info.perf_event.kprobe.missed").is_some()
}

/// One program's skipped runs.
pub(super) struct Misses {
    /// The program, and where its fdinfo is.
    program: OwnedFd,
    /// Runs skipped where the kernel has no field for them; `None`: that is not known.
    without_field: Option<u64>,
}

impl Misses {
    /// Of the program behind a descriptor.
    pub(super) fn of(program: impl AsFd) -> Option<Self> {
        Some(Self { program: program.as_fd().try_clone_to_owned().ok()?, without_field: None })
    }

    /// Of the fentry or fexit program behind a descriptor.
    pub(super) fn of_traced(program: impl AsFd) -> Option<Self> {
        Some(Self { without_field: Some(0), ..Self::of(program)? })
    }

    /// How many runs were skipped so far.
    pub(super) fn read(&self) -> Option<u64> {
        let fdinfo = fs::read_to_string(format!("/proc/self/fdinfo/{}", self.program.as_raw_fd())).ok()?;
        parse(&fdinfo).or(self.without_field)
    }
}

fn parse(fdinfo: &str) -> Option<u64> {
    fdinfo.lines().find_map(|line| line.strip_prefix("recursion_misses:"))?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_count_is_found_among_the_other_lines() {
        let fdinfo = "pos:\t0\nprog_type:\t2\nrun_cnt:\t7\nrecursion_misses:\t1271\nverified_insns:\t400\n";
        assert_eq!(parse(fdinfo), Some(1271));
        assert_eq!(parse("pos:\t0\nprog_type:\t2\n"), None);
    }
}
