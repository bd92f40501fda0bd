//! Runs of a kprobe the kernel skipped before it came to the program: while another kprobe was being handled on that CPU,
//! or, of a kretprobe, while too many calls were under way. The unsafe fence of the system call that tells.
//!
//! Since 6.7, for programs attached by a link (include/uapi/linux/bpf.h, `bpf_link_info.perf_event.kprobe.missed`). Asking
//! for a link is no map operation: the kernel skips no program meanwhile.

use std::{
    collections::BTreeMap,
    fs,
    os::fd::{AsRawFd as _, BorrowedFd, OwnedFd, RawFd},
};

use super::btf::Btf;

/// Where in what the kernel tells of a link the number of skipped runs is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Field(usize);

/// More than any kernel tells of a link.
const INFO: usize = 256;

impl Field {
    /// `None` where this kernel does not tell.
    pub(super) fn of(btf: &Btf) -> Option<Self> {
        let offset = btf.offset("bpf_link_info.perf_event.kprobe.missed")? as usize;
        (offset + size_of::<u64>() <= INFO).then_some(Self(offset))
    }

    /// How many runs were skipped so far.
    pub(super) fn read(self, link: &OwnedFd) -> Option<u64> {
        /// As in enum bpf_cmd of the same header.
        const BPF_OBJ_GET_INFO_BY_FD: libc::c_int = 15;
        /// The part of union bpf_attr that goes with it.
        #[repr(C)]
        struct Ask {
            fd: u32,
            length: u32,
            info: u64,
        }
        let mut info = [0_u8; INFO];
        let ask =
            Ask { fd: link.as_raw_fd().cast_unsigned(), length: INFO as u32, info: info.as_mut_ptr() as u64 };
        // SAFETY: both live until it returns; the kernel writes no more than `length` bytes, and reads as much of `ask` as it
        // is told there is.
        let told =
            unsafe { libc::syscall(libc::SYS_bpf, BPF_OBJ_GET_INFO_BY_FD, &raw const ask, size_of::<Ask>()) };
        let value = info.get(self.0..self.0 + size_of::<u64>()).filter(|_| told == 0)?;
        Some(u64::from_ne_bytes(value.try_into().ok()?))
    }
}

/// This process's links, by the number of the program that each attaches.
pub(super) fn links() -> BTreeMap<u32, OwnedFd> {
    let Ok(descriptors) = fs::read_dir("/proc/self/fdinfo") else { return BTreeMap::new() };
    let link = |entry: fs::DirEntry| {
        let descriptor: RawFd = entry.file_name().to_str()?.parse().ok()?;
        let fdinfo = fs::read_to_string(entry.path()).ok()?;
        line(&fdinfo, "link_type:")?;
        let program = line(&fdinfo, "prog_id:")?.parse().ok()?;
        // SAFETY: a link is held by its program, which is attached until the daemon ends.
        let link = unsafe { BorrowedFd::borrow_raw(descriptor) };
        Some((program, link.try_clone_to_owned().ok()?))
    };
    descriptors.flatten().filter_map(link).collect()
}

/// What a line of a descriptor's fdinfo says.
pub(super) fn line<'a>(fdinfo: &'a str, name: &str) -> Option<&'a str> {
    fdinfo.lines().find_map(|line| line.strip_prefix(name)).map(str::trim)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kernel_that_does_not_tell_is_not_asked() {
        assert_eq!(Field::of(&Btf::empty()), None);
    }

    #[test]
    fn a_descriptor_that_is_no_link_tells_nothing() {
        let file = fs::File::open("/proc/self/stat").expect("it is always there");
        assert_eq!(Field(48).read(&file.into()), None);
    }

    #[test]
    fn lines_are_found_by_their_names() {
        let fdinfo = "pos:\t0\nlink_type:\tperf\nlink_id:\t12\nprog_id:\t31\n";
        assert_eq!((line(fdinfo, "prog_id:"), line(fdinfo, "prog_tag:")), (Some("31"), None));
    }
}
