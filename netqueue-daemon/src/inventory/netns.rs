//! Network namespaces by the files that stand for them.

use std::{
    fs, io,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use crate::domain::Netns;

/// The namespace of PID 1; where that may not be looked at, the daemon's own.
///
/// # Errors
/// Neither can be looked at.
pub fn host() -> io::Result<Netns> {
    of_task(Path::new("/proc/1")).or_else(|_| of_task(Path::new("/proc/self")))
}

/// The namespace of a process or a thread, by its directory like /proc/PID or /proc/PID/task/TID.
///
/// # Errors
/// It is gone, or may not be looked at.
pub(super) fn of_task(directory: &Path) -> io::Result<Netns> {
    let link = fs::read_link(directory.join("ns/net"))?;
    let inode = link.to_str().and_then(|link| link.strip_prefix("net:[")?.strip_suffix(']')?.parse().ok());
    inode.map(Netns).ok_or_else(|| io::Error::other(format!("{} is no network namespace", link.display())))
}

/// The device that all namespaces' files are on.
pub(super) fn device(proc: &Path) -> io::Result<u64> {
    fs::metadata(proc.join("self/ns/net")).map(|file| file.dev())
}

/// The namespace a file is bound to, as `ip netns add` binds it. A file left behind is none.
pub(super) fn bound_to(file: &fs::Metadata, device: u64) -> Option<Netns> {
    (file.dev() == device).then(|| u32::try_from(file.ino()).ok().map(Netns))?
}

/// Files in the directories where namespaces are given names, in order.
pub(super) fn named(directories: &[PathBuf], device: u64) -> Vec<(Netns, String, PathBuf)> {
    let mut named = Vec::new();
    for directory in directories {
        // Not every machine has it.
        let Ok(files) = fs::read_dir(directory) else { continue };
        let mut files: Vec<_> = files.flatten().collect();
        files.sort_by_key(fs::DirEntry::file_name);
        for file in files {
            // The path's own metadata: the directory entry's would be that of what lies under the mount.
            let netns = fs::metadata(file.path()).ok().and_then(|bound| bound_to(&bound, device));
            if let (Some(netns), Ok(name)) = (netns, file.file_name().into_string()) {
                named.push((netns, name, file.path()));
            }
        }
    }
    named
}
