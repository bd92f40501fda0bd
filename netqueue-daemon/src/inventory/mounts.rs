//! Files bound to network namespaces, from the mount table.
//!
//! `ip netns add` and container runtimes bind such files.

use std::{
    fs,
    path::{Path, PathBuf},
};

use super::netns;

/// File bound to a namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Bound {
    /// Inode number of the namespace.
    pub(super) inode: u32,
    /// Path in the mount table.
    pub(super) path: PathBuf,
}

impl Bound {
    /// Returns the name that somebody gave the namespace with the file.
    /// That is the name of a file in a directory called `netns`, unless a program generated the name.
    pub(super) fn name(&self) -> Option<&str> {
        let directory = self.path.parent()?;
        let made_up = |name: &&str| name.starts_with("cni-") || is_uuid(name);
        let by_hand = directory.ends_with("netns") && !directory.ends_with("docker/netns");
        self.path.file_name()?.to_str().filter(|name| by_hand && !made_up(name))
    }
}

/// Reads the mount table of PID 1 if permitted, else the daemon's own; with the root it is relative to.
pub(super) fn bound(proc: &Path) -> (PathBuf, Vec<Bound>) {
    let read = |process: &str| {
        let table = fs::read_to_string(proc.join(process).join("mountinfo")).ok()?;
        Some((proc.join(process).join("root"), parse(&table)))
    };
    read("1").or_else(|| read("self")).unwrap_or_default()
}

/// Parses the mount table in the format of proc(5) mountinfo:
/// `id parent dev root mountpoint options [fields] - type source superoptions`.
fn parse(table: &str) -> Vec<Bound> {
    let line = |line: &str| {
        let (head, tail) = line.split_once(" - ")?;
        if !tail.starts_with("nsfs ") {
            return None;
        }
        let mut fields = head.split(' ').skip(3);
        let (root, path) = (fields.next()?, fields.next()?);
        Some(Bound { inode: netns::inode_in(root)?, path: unescape(path).into() })
    };
    table.lines().filter_map(line).collect()
}

/// Reverses the octal escapes of spaces and the like.
fn unescape(path: &str) -> String {
    [("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")]
        .into_iter()
        .fold(path.to_owned(), |path, (escaped, plain)| path.replace(escaped, plain))
}

fn is_uuid(name: &str) -> bool {
    const DASHES: [usize; 4] = [8, 13, 18, 23];
    name.len() == 36
        && name.bytes().enumerate().all(|(index, byte)| {
            if DASHES.contains(&index) { byte == b'-' } else { byte.is_ascii_hexdigit() }
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &str = "\
25 30 0:23 / /sys rw,nosuid - sysfs sysfs rw
601 24 0:4 net:[4026532201] /run/netns/blue\\040sky rw shared:300 - nsfs nsfs rw
602 24 0:4 net:[4026532301] /run/docker/netns/3f1c9b0a3f1c rw - nsfs nsfs rw
603 24 0:4 net:[4026532401] /var/run/netns/cni-0f3a rw - nsfs nsfs rw
604 24 0:4 mnt:[4026532500] /run/snapd/ns/lxd.mnt rw - nsfs nsfs rw
605 24 0:4 net:[4026532601] /var/run/netns/b9a7a5f2-9f3e-4d3b-8c56-1f6f4e2f7a10 rw - nsfs nsfs rw
";

    #[test]
    fn files_bound_to_network_namespaces_are_found_and_only_given_names_are_names() {
        let bound = parse(TABLE);
        let found: Vec<_> = bound.iter().map(|bound| (bound.inode, bound.name())).collect();
        assert_eq!(
            found,
            [
                (4_026_532_201, Some("blue sky")),
                (4_026_532_301, None),
                (4_026_532_401, None),
                (4_026_532_601, None)
            ]
        );
    }
}
