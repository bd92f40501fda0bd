//! A small Debian for a guest: real programs, with all they need, unpacked below `target/userland`.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::debian::{Suite, empty_dir};
use crate::process::say;
use crate::workspace::Workspace;

/// Suite of its packages.
const SUITE: &str = "trixie";

/// Folders that lead to those in /usr, as the package `base-files` has them.
const MERGED: [&str; 4] = ["bin", "sbin", "lib", "lib64"];

/// Folders that only people read.
const READING: [&str; 5] =
    ["usr/share/doc", "usr/share/man", "usr/share/locale", "usr/share/info", "usr/share/lintian"];

/// Users that servers change to. Their packages' scripts would make them.
const USERS: [(&str, u32); 4] = [("root", 0), ("www-data", 33), ("redis", 102), ("nobody", 65534)];

const HOSTS: &str = "127.0.0.1 localhost\n::1 localhost\n";

/// File that lists the packages.
const LIST: &str = "packages";

/// Returns the folder with these packages and their dependencies; fetches them unless it is there.
pub(crate) fn ensure(workspace: &Workspace, packages: &[&str]) -> Result<PathBuf> {
    let mut wanted = packages.to_vec();
    wanted.sort_unstable();
    wanted.dedup();
    let place = workspace.target("userland").join(wanted.join("+"));
    if place.join(LIST).is_file() {
        return Ok(place);
    }
    let part = place.with_extension("part");
    empty_dir(&part)?;
    let suite = Suite::open(workspace, SUITE)?;
    merge(&part)?;
    let unpacked = suite.unpack_all(&wanted, &part)?;
    for folder in READING {
        // A folder that no package has is not missed.
        let _ = fs::remove_dir_all(part.join(folder));
    }
    accounts(&part)?;
    write(&part.join(LIST), &(unpacked.join("\n") + "\n"))?;
    empty_dir(&place)?;
    fs::rename(&part, &place).with_context(|| format!("{} cannot be put in place", place.display()))?;
    say("Debian", format_args!("{} ({SUITE}): {} packages, fetched", wanted.join(", "), unpacked.len()));
    Ok(place)
}

/// Makes /bin and its like lead to those in /usr, before a package puts anything there.
fn merge(root: &Path) -> Result<()> {
    for folder in MERGED {
        let target = format!("usr/{folder}");
        fs::create_dir_all(root.join(&target))
            .and_then(|()| symlink(&target, root.join(folder)))
            .with_context(|| format!("{} cannot be made", root.join(folder).display()))?;
    }
    Ok(())
}

/// Writes users, groups and host names.
///
/// The users are those of every Debian where the package `base-passwd` is there, else [`USERS`].
fn accounts(root: &Path) -> Result<()> {
    let etc = root.join("etc");
    let masters = root.join("usr/share/base-passwd");
    if masters.is_dir() {
        for file in ["passwd", "group"] {
            fs::copy(masters.join(format!("{file}.master")), etc.join(file))
                .with_context(|| format!("{} cannot be made", etc.join(file).display()))?;
        }
        return write(&etc.join("hosts"), HOSTS);
    }
    fs::create_dir_all(&etc).with_context(|| format!("{} cannot be made", etc.display()))?;
    let users = USERS.map(|(name, id)| format!("{name}:x:{id}:{id}:{name}:/:/bin/sh\n")).concat();
    let groups = USERS.map(|(name, id)| format!("{name}:x:{id}:\n")).concat() + "nogroup:x:65534:\n";
    write(&etc.join("passwd"), &users)?;
    write(&etc.join("group"), &groups)?;
    write(&etc.join("hosts"), HOSTS)
}

fn write(path: &Path, text: &str) -> Result<()> {
    fs::write(path, text).with_context(|| format!("{} cannot be written", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_package_finds_the_folders_merged_and_servers_find_their_users() {
        let root = tempfile::tempdir().unwrap();
        merge(root.path()).unwrap();
        fs::write(root.path().join("usr/bin/ss"), "").unwrap();
        assert!(root.path().join("bin/ss").is_file());
        accounts(root.path()).unwrap();
        let users = fs::read_to_string(root.path().join("etc/passwd")).unwrap();
        assert!(users.starts_with("root:x:0:0:") && users.contains("\nwww-data:x:33:33:"), "{users}");
    }
}
