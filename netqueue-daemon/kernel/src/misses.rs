//! Runs the kernel skipped. A kprobe program does not run while another, or a map operation by system call, is under way
//! on its CPU; a fentry or fexit program does not run on top of itself.
//!
//! The kernel counts them per program and shows them in the descriptor's fdinfo: of kprobes since 6.7, until when the
//! field stays 0, so that it is not shown; of the others since 5.12, before which none of their runs is skipped. Of kprobes
//! it counts apart what was skipped before it came to the program (`link_misses.rs`): both are one number here.

use std::{
    collections::BTreeMap,
    fs,
    os::fd::{AsFd, AsRawFd, OwnedFd},
};

use super::link_misses::{Field, line};

/// One program's skipped runs.
pub(super) struct Misses {
    /// The program, and where its fdinfo is.
    program: OwnedFd,
    /// Runs skipped where the kernel has no field for them; `None`: that is not known.
    without_field: Option<u64>,
    /// The link it is attached by, if that is told of, too.
    link: Option<(OwnedFd, Field)>,
}

impl Misses {
    /// Of the program behind a descriptor.
    pub(super) fn of(program: impl AsFd) -> Option<Self> {
        Some(Self { program: program.as_fd().try_clone_to_owned().ok()?, without_field: None, link: None })
    }

    /// Of the fentry or fexit program behind a descriptor.
    pub(super) fn of_traced(program: impl AsFd) -> Option<Self> {
        Some(Self { without_field: Some(0), ..Self::of(program)? })
    }

    /// It is attached by one of these, which are told of.
    pub(super) fn attached_by(&mut self, links: &mut BTreeMap<u32, OwnedFd>, field: Field) {
        let number = self.fdinfo().and_then(|fdinfo| line(&fdinfo, "prog_id:")?.parse().ok());
        self.link = number.and_then(|number: u32| links.remove(&number)).map(|link| (link, field));
    }

    /// How many runs were skipped so far.
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
