//! Network namespaces by the files that stand for them.

use std::{fs, io, os::unix::fs::MetadataExt, path::Path, sync::Arc};

use netqueue_domain::Netns;

/// Where the namespace of PID 1 shows its counters.
pub const HOST_NET: &str = "/proc/1/net";

/// Which namespace has an inode number now, for those that live longer than a call.
pub type Numbering = Arc<dyn Fn(u32) -> Netns + Send + Sync>;

/// Which namespace has an inode number now.
pub type WhoHas<'a> = &'a (dyn Fn(u32) -> Netns + Sync);

/// The inode number of the namespace of a process or a thread, by its directory like /proc/PID or /proc/PID/task/TID.
///
/// # Errors
/// It is gone, or may not be looked at.
pub(super) fn of_task(directory: &Path) -> io::Result<u32> {
    inode_of(directory, "net")
}

/// The inode number of one of the namespaces of a process or a thread: `net`, `pid`, ..
///
/// # Errors
/// It is gone, or may not be looked at.
pub(super) fn inode_of(directory: &Path, kind: &str) -> io::Result<u32> {
    let link = fs::read_link(directory.join("ns").join(kind))?;
    let inode = link.to_str().and_then(|text| text.strip_prefix(kind)).and_then(number_in);
    inode.ok_or_else(|| io::Error::other(format!("{} is no {kind} namespace", link.display())))
}

/// The number in `net:[4026531840]`.
pub(super) fn inode_in(text: &str) -> Option<u32> {
    number_in(text.strip_prefix("net")?)
}

/// The number in `:[4026531840]`.
fn number_in(text: &str) -> Option<u32> {
    text.strip_prefix(":[")?.strip_suffix(']')?.parse().ok()
}

/// The namespace that a thread or a file leads to, `inode` saying its number: it must have that number still when it is
/// known whose the number is.
pub(super) fn identify(who: WhoHas<'_>, inode: impl Fn() -> Option<u32>) -> Option<Netns> {
    let number = inode()?;
    let netns = who(number);
    (inode() == Some(number) && who(number) == netns).then_some(netns)
}

/// The namespace a file like /proc/PID/ns/net stands for.
///
/// # Errors
/// The file cannot be looked at, or is another's a moment later.
pub(super) fn of(file: impl AsRef<Path>, who: WhoHas<'_>) -> io::Result<Netns> {
    let inode = || fs::metadata(&file).ok().and_then(|file| of_file(&file));
    fs::metadata(&file)?;
    identify(who, inode).ok_or_else(|| io::Error::other("its number is changing hands"))
}

/// The inode number of a file bound to a namespace.
pub(super) fn of_file(file: &fs::Metadata) -> Option<u32> {
    u32::try_from(file.ino()).ok()
}
