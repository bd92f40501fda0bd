//! Network namespaces by the files that represent them.

use std::{fs, io, os::unix::fs::MetadataExt, path::Path, sync::Arc};

use netqueue_domain::Netns;

/// Directory in which the namespace of PID 1 shows its counters.
pub const HOST_NET: &str = "/proc/1/net";

/// Function that returns the namespace which has an inode number now, for structs that store it.
pub type Numbering = Arc<dyn Fn(u32) -> Netns + Send + Sync>;

/// Function that returns the namespace which has an inode number now.
pub type WhoHas<'a> = &'a (dyn Fn(u32) -> Netns + Sync);

/// Returns the inode number of a process's or thread's namespace.
/// `directory` is like /proc/PID or /proc/PID/task/TID.
///
/// # Errors
/// The process or thread has ended, or may not be examined.
pub(super) fn of_task(directory: &Path) -> io::Result<u32> {
    inode_of(directory, "net")
}

/// Returns the inode number of one of the namespaces of a process or a thread: `net`, `pid`, ..
///
/// # Errors
/// The process or thread has ended, or may not be examined.
pub(super) fn inode_of(directory: &Path, kind: &str) -> io::Result<u32> {
    let link = fs::read_link(directory.join("ns").join(kind))?;
    let inode = link.to_str().and_then(|text| text.strip_prefix(kind)).and_then(number_in);
    inode.ok_or_else(|| io::Error::other(format!("{} is no {kind} namespace", link.display())))
}

/// Parses the number in `net:[4026531840]`.
pub(super) fn inode_in(text: &str) -> Option<u32> {
    number_in(text.strip_prefix("net")?)
}

/// Parses the number in `:[4026531840]`.
fn number_in(text: &str) -> Option<u32> {
    text.strip_prefix(":[")?.strip_suffix(']')?.parse().ok()
}

/// Identifies the namespace that a thread or a file leads to, whose number `inode` reads.
/// Number and owner are read twice, because a number may pass to another namespace in between.
pub(super) fn identify(who: WhoHas<'_>, inode: impl Fn() -> Option<u32>) -> Option<Netns> {
    let number = inode()?;
    let netns = who(number);
    (inode() == Some(number) && who(number) == netns).then_some(netns)
}

/// Returns the namespace that a file like /proc/PID/ns/net represents.
///
/// # Errors
/// The file cannot be read, or its number has passed to another namespace meanwhile.
pub(super) fn of(file: impl AsRef<Path>, who: WhoHas<'_>) -> io::Result<Netns> {
    let inode = || fs::metadata(&file).ok().and_then(|file| of_file(&file));
    fs::metadata(&file)?;
    identify(who, inode).ok_or_else(|| io::Error::other("its number is changing hands"))
}

/// Returns the inode number of a file bound to a namespace.
pub(super) fn of_file(file: &fs::Metadata) -> Option<u32> {
    u32::try_from(file.ino()).ok()
}
