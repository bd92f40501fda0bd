//! Process as /proc shows it: start time, name, executable, cgroup.

use std::{
    fs, io,
    os::unix::ffi::OsStrExt as _,
    path::{Path, PathBuf},
    sync::Arc,
};

use netqueue_domain::{Known, Owner, SocketInode, Unknown, printable};

use super::{cgroup, privilege};

/// Longest name that the kernel gives a process (TASK_COMM_LEN less its zero).
const COMM: usize = 15;
/// Longest path of an executable that is kept, in bytes; a longer one is cut.
const LONGEST_PATH: usize = 256;

/// Process, identified by its number and its start in clock ticks since boot, as numbers are reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Process {
    pub(super) started: u64,
    pub(super) pid: u32,
}

impl Process {
    /// Returns the process that has this number now.
    pub(super) fn of(proc: &Path, pid: u32) -> io::Result<Self> {
        let stat = fs::read(proc.join(pid.to_string()).join("stat"))?;
        let started = started(&stat).ok_or_else(|| io::Error::other("its stat file is not understood"))?;
        Ok(Self { started, pid })
    }

    /// Returns whether the process still exists.
    pub(super) fn lives(self, proc: &Path) -> bool {
        Self::of(proc, self.pid).is_ok_and(|now| now == self)
    }

    /// Returns its present name.
    pub(super) fn comm(self, proc: &Path) -> io::Result<Arc<str>> {
        let bytes = fs::read(self.directory(proc).join("comm"))?;
        Ok(printable(bytes.strip_suffix(b"\n").unwrap_or(&bytes), COMM))
    }

    /// Reads everything about the process that is reported of an owner.
    pub(super) fn describe(self, proc: &Path) -> io::Result<Owner> {
        let directory = self.directory(proc);
        let executable = fs::read_link(directory.join("exe"));
        let executable = executable.map(|path| printable(path.as_os_str().as_bytes(), LONGEST_PATH));
        let place = fs::read_to_string(directory.join("cgroup"));
        let place: Known<_> = place
            .map_err(|error| why(&error))
            .and_then(|text| cgroup::parse(&text).map(Arc::new).ok_or(Unknown::NotInKernel));
        Ok(Owner {
            pid: self.pid,
            started: self.started,
            comm: self.comm(proc)?,
            executable: executable.map_err(|error| why(&error)),
            place,
            ended: false,
        })
    }

    /// Calls `each` with every socket it has open; returns the number of descriptors.
    ///
    /// # Errors
    /// The descriptors of the process may not be read, or it has ended.
    pub(super) fn sockets(self, proc: &Path, mut each: impl FnMut(SocketInode)) -> io::Result<u64> {
        let mut looked_at = 0;
        for entry in fs::read_dir(self.directory(proc).join("fd"))? {
            looked_at += 1;
            let link = entry.and_then(|entry| fs::read_link(entry.path()));
            // Closed meanwhile.
            let Ok(link) = link else { continue };
            if let Some(inode) = socket(link.as_os_str().as_bytes()) {
                each(inode);
            }
        }
        Ok(looked_at)
    }

    fn directory(self, proc: &Path) -> PathBuf {
        proc.join(self.pid.to_string())
    }
}

/// Returns the numbers of all processes below `proc`, ascending.
pub(super) fn numbers(proc: &Path) -> Vec<u32> {
    let entries = fs::read_dir(proc).into_iter().flatten().flatten();
    let number = |entry: fs::DirEntry| entry.file_name().to_str()?.parse().ok();
    let mut numbers: Vec<u32> = entries.filter_map(number).collect();
    numbers.sort_unstable();
    numbers
}

/// Parses the target of a descriptor's link, such as `socket:[18231]`.
fn socket(link: &[u8]) -> Option<SocketInode> {
    let number = link.strip_prefix(b"socket:[")?.strip_suffix(b"]")?;
    std::str::from_utf8(number).ok()?.parse().ok().map(SocketInode)
}

/// Returns the 22nd field, the start time.
/// The second field is the name in parentheses, which may contain anything, including parentheses.
fn started(stat: &[u8]) -> Option<u64> {
    let after_name = stat.iter().rposition(|byte| *byte == b')')? + 1;
    let rest = std::str::from_utf8(stat.get(after_name..)?).ok()?;
    rest.split_ascii_whitespace().nth(19)?.parse().ok()
}

fn why(error: &io::Error) -> Unknown {
    match error.kind() {
        io::ErrorKind::PermissionDenied => privilege::missing_to_look_at_processes(),
        io::ErrorKind::NotFound => Unknown::Nobody,
        _ => Unknown::Unreadable,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_full_of_parentheses_and_spaces_does_not_shift_the_fields() {
        let fields: Vec<String> = (3..=52).map(|field| field.to_string()).collect();
        let stat = format!("7 (a) S 1 (b)) {}", fields.join(" "));
        assert_eq!(started(stat.as_bytes()), Some(22));
        assert_eq!(started(b"7 (cut"), None);
    }

    #[test]
    fn only_sockets_are_sockets() {
        assert_eq!(socket(b"socket:[18231]"), Some(SocketInode(18231)));
        for other in
            [&b"pipe:[18231]"[..], b"/tmp/socket:[1]", b"socket:[]", b"socket:[x]", b"anon_inode:[eventfd]"]
        {
            assert_eq!(socket(other), None);
        }
    }

    #[test]
    fn this_process_is_described_with_its_socket() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        let proc = Path::new("/proc");
        let own = Process::of(proc, std::process::id()).expect("it is there");
        let (owner, mut sockets) = (own.describe(proc).expect("readable"), Vec::new());
        own.sockets(proc, |inode| sockets.push(inode)).expect("its own");
        assert!(own.lives(proc) && owner.executable.is_ok() && !owner.comm.is_empty());
        use std::os::fd::AsRawFd as _;
        let link = fs::read_link(format!("/proc/self/fd/{}", listener.as_raw_fd())).expect("it is open");
        assert!(sockets.contains(&socket(link.as_os_str().as_bytes()).expect("a socket")));
    }
}
