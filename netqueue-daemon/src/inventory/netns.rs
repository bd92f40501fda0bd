//! Network namespaces.

use std::{fs, io, os::unix::fs::MetadataExt, path::Path};

use crate::domain::Netns;

/// Where the namespace of PID 1 shows its counters.
pub const HOST_NET: &str = "/proc/1/net";

/// The namespace of PID 1; where that may not be looked at, the daemon's own.
///
/// # Errors
/// Neither can be looked at.
pub fn host() -> io::Result<Netns> {
    of("/proc/1/ns/net").or_else(|_| of("/proc/self/ns/net"))
}

/// The namespace a file like /proc/PID/ns/net stands for: its inode number.
///
/// # Errors
/// The file cannot be looked at.
pub fn of(file: impl AsRef<Path>) -> io::Result<Netns> {
    let inode = fs::metadata(file)?.ino();
    u32::try_from(inode)
        .map(Netns::at_attach)
        .map_err(|_| io::Error::other(format!("inode {inode} is not a namespace's")))
}
