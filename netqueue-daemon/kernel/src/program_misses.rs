//! Counts the runs that the kernel skipped.
//!
//! A kprobe program does not run while another, or a map operation by system call, is under way on its CPU; a
//! fentry or fexit program does not run on top of itself.
//!
//! The kernel counts them per program, and shows them in the descriptor's fdinfo. For kprobes it does so
//! since 6.7; before, the field stays 0, and netqueue does not show it. For fentry and fexit it does so since
//! 5.12; before, none of their runs is skipped. Kprobe runs skipped before they reached the program are
//! counted apart (`kprobe_misses.rs`): the two are one number here.

use std::{
    collections::BTreeMap,
    fs,
    os::fd::{AsFd, AsRawFd, OwnedFd},
};

use super::kprobe_misses::{Field, line};

/// One program's skipped runs.
pub(super) struct Misses {
    /// Descriptor of the program, which leads to its fdinfo.
    program: OwnedFd,
    /// Number of skipped runs where the kernel has no field for them; `None` where it is unknown.
    without_field: Option<u64>,
    /// Link that attaches the program, if the kernel reports the runs skipped there, too.
    link: Option<(OwnedFd, Field)>,
}

impl Misses {
    /// Opens the miss count of the program behind a descriptor.
    pub(super) fn of(program: impl AsFd) -> Option<Self> {
        Some(Self { program: program.as_fd().try_clone_to_owned().ok()?, without_field: None, link: None })
    }

    /// Opens the miss count of the fentry or fexit program behind a descriptor.
    pub(super) fn of_traced(program: impl AsFd) -> Option<Self> {
        Some(Self { without_field: Some(0), ..Self::of(program)? })
    }

    /// Takes from `links` the one that attaches the program, so that its misses count, too.
    pub(super) fn attached_by(&mut self, links: &mut BTreeMap<u32, OwnedFd>, field: Field) {
        let number = self.fdinfo().and_then(|fdinfo| line(&fdinfo, "prog_id:")?.parse().ok());
        self.link = number.and_then(|number: u32| links.remove(&number)).map(|link| (link, field));
    }

    /// Reads the number of runs skipped so far; `None` where it is unknown.
    pub(super) fn read(&self) -> Option<u64> {
        let of_program = parse(&self.fdinfo()?).or(self.without_field)?;
        let of_link = self.link.as_ref().map_or(Some(0), |(link, field)| field.read(link))?;
        Some(of_program + of_link)
    }

    fn fdinfo(&self) -> Option<String> {
        fs::read_to_string(format!("/proc/self/fdinfo/{}", self.program.as_raw_fd())).ok()
    }
}

fn parse(fdinfo: &str) -> Option<u64> {
    line(fdinfo, "recursion_misses:")?.parse().ok()
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
