//! Runs the kernel skipped: a kprobe program does not run while another runs on its CPU.
//!
//! The kernel counts them per program since 6.7 and shows them in the descriptor's fdinfo. The field is there since 5.12,
//! but stays 0 for kprobes until then: what does not count is not shown.

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
}

impl Misses {
    /// Of the program behind a descriptor.
    pub(super) fn of(program: impl AsFd) -> Option<Self> {
        Some(Self { program: program.as_fd().try_clone_to_owned().ok()? })
    }

    /// How many runs were skipped so far.
    pub(super) fn read(&self) -> Option<u64> {
        parse(&fs::read_to_string(format!("/proc/self/fdinfo/{}", self.program.as_raw_fd())).ok()?)
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
