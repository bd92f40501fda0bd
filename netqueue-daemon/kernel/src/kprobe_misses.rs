//! Counts the runs of a kprobe that the kernel skipped before it reached the program.
//!
//! That happens while another kprobe is being handled on the CPU, or, for a kretprobe, while too many calls
//! are under way. Since 6.7 the kernel reports these for programs attached by a link
//! (include/uapi/linux/bpf.h, `bpf_link_info.perf_event.kprobe.missed`). Querying a link is no map operation:
//! the kernel skips no program meanwhile. The unsafe fence of that system call.

use std::{
    collections::BTreeMap,
    fs,
    os::fd::{AsRawFd as _, BorrowedFd, OwnedFd, RawFd},
};

use super::btf::Btf;

/// Offset of the number of skipped runs in the kernel's `bpf_link_info`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Field(usize);

/// Size of the buffer for `bpf_link_info`: larger than any kernel's.
const INFO: usize = 256;

impl Field {
    /// Finds the field; `None` where this kernel lacks it.
    pub(super) fn of(btf: &Btf) -> Option<Self> {
        let offset = btf.offset("bpf_link_info.perf_event.kprobe.missed")? as usize;
        (offset + size_of::<u64>() <= INFO).then_some(Self(offset))
    }

    /// Reads the number of runs skipped so far.
    pub(super) fn read(self, link: &OwnedFd) -> Option<u64> {
        /// Command number, from enum bpf_cmd in include/uapi/linux/bpf.h.
        const BPF_OBJ_GET_INFO_BY_FD: libc::c_int = 15;
        /// Part of union bpf_attr for this command.
        #[repr(C)]
        struct Ask {
            fd: u32,
            length: u32,
            info: u64,
        }
        let mut info = [0_u8; INFO];
        let ask =
            Ask { fd: link.as_raw_fd().cast_unsigned(), length: INFO as u32, info: info.as_mut_ptr() as u64 };
        // SAFETY: both live until the call returns; the kernel writes at most `length` bytes, and reads as
        // much
        // of `ask` as the size given.
        let told =
            unsafe { libc::syscall(libc::SYS_bpf, BPF_OBJ_GET_INFO_BY_FD, &raw const ask, size_of::<Ask>()) };
        let value = info.get(self.0..self.0 + size_of::<u64>()).filter(|_| told == 0)?;
        Some(u64::from_ne_bytes(value.try_into().ok()?))
    }
}

/// Returns this process's links, by the number of the program that each attaches.
pub(super) fn links() -> BTreeMap<u32, OwnedFd> {
    let Ok(descriptors) = fs::read_dir("/proc/self/fdinfo") else { return BTreeMap::new() };
    let link = |entry: fs::DirEntry| {
        let descriptor: RawFd = entry.file_name().to_str()?.parse().ok()?;
        let fdinfo = fs::read_to_string(entry.path()).ok()?;
        line(&fdinfo, "link_type:")?;
        let program = line(&fdinfo, "prog_id:")?.parse().ok()?;
        // SAFETY: the program owns its link, and stays attached until the daemon ends.
        let link = unsafe { BorrowedFd::borrow_raw(descriptor) };
        Some((program, link.try_clone_to_owned().ok()?))
    };
    descriptors.flatten().filter_map(link).collect()
}

/// Returns the value of a line in a descriptor's fdinfo.
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
