//! Finds the limit that a refused allocation met: the kernel reports only that there was no memory.

use std::{fs, path::Path};

use nix::sys::resource::{RLIM_INFINITY, Resource, getrlimit};

/// Returns whether RLIMIT_MEMLOCK is limited, against which maps counted before 5.11.
pub(super) fn is_locked() -> bool {
    getrlimit(Resource::RLIMIT_MEMLOCK).is_ok_and(|(soft, _)| soft != RLIM_INFINITY)
}

/// Describes the limits in force for this process.
pub(super) fn in_words() -> String {
    let cgroup = fs::read_to_string("/proc/self/cgroup").ok();
    let cgroup =
        cgroup.as_deref().and_then(|memberships| of_cgroup(Path::new("/sys/fs/cgroup"), memberships));
    let locked = getrlimit(Resource::RLIMIT_MEMLOCK).ok().map(|(soft, _)| soft);
    let limits: Vec<String> = [
        cgroup.map(|(cgroup, bytes)| format!("memory.max of cgroup {cgroup} is {} MiB", bytes >> 20)),
        locked.filter(|bytes| *bytes != RLIM_INFINITY).map(|bytes| {
            format!("RLIMIT_MEMLOCK is {} KiB, and before 5.11 eBPF maps count against it", bytes >> 10)
        }),
    ]
    .into_iter()
    .flatten()
    .collect();
    if limits.is_empty() {
        "no cgroup limits this process's memory, so the machine itself has none left".to_owned()
    } else {
        limits.join("; ")
    }
}

/// Returns the lowest limit of a process's cgroup and of those above it, with the name of that cgroup.
fn of_cgroup(root: &Path, memberships: &str) -> Option<(String, u64)> {
    let (version_2, version_1) = ("0::", ":memory:");
    let path = memberships.lines().find_map(|line| line.strip_prefix(version_2));
    let old = memberships.lines().find_map(|line| line.split_once(version_1).map(|(_, path)| path));
    let (root, path, file) = match old {
        Some(path) => (root.join("memory"), path, "memory.limit_in_bytes"),
        None => (root.to_owned(), path?, "memory.max"),
    };
    let limit = |cgroup: &Path| -> Option<(String, u64)> {
        let inside = cgroup.strip_prefix("/").ok()?;
        let bytes: u64 = fs::read_to_string(root.join(inside).join(file)).ok()?.trim().parse().ok()?;
        // Version 1 writes "no limit" as a number near the highest.
        (bytes < 1 << 60).then(|| (cgroup.display().to_string(), bytes))
    };
    Path::new(path).ancestors().filter_map(limit).min_by_key(|(_, bytes)| *bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree() -> tempfile::TempDir {
        let root = tempfile::tempdir().expect("there is room");
        let write = |path: &str, text: &str| {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().expect("it is in the tree")).expect("there is room");
            fs::write(path, text).expect("there is room");
        };
        write("memory.max", "max\n");
        write("pods/memory.max", "268435456\n");
        write("pods/one/memory.max", "1073741824\n");
        write("memory/one/memory.limit_in_bytes", "9223372036854771712\n");
        write("memory/memory.limit_in_bytes", "134217728\n");
        root
    }

    #[test]
    fn the_lowest_limit_on_the_way_up_is_the_one_that_is_met() {
        let root = tree();
        let limit = |memberships| of_cgroup(root.path(), memberships);
        assert_eq!(limit("0::/pods/one\n"), Some(("/pods".to_owned(), 256 << 20)));
        assert_eq!(limit("0::/\n"), None, "`max` is none");
        assert_eq!(limit("4:memory:/one\n0::/pods\n"), Some(("/".to_owned(), 128 << 20)));
        assert_eq!(limit(""), None);
    }
}
