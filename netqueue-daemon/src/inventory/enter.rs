//! Reads the counters of namespaces without a process, by entering them.
//!
//! A thread of its own enters one after the other and ends. Needs CAP_SYS_ADMIN.

use std::{fs::File, io, path::PathBuf, thread};

use netqueue_domain::Netns;
use nix::sched::{CloneFlags, setns};

use super::{
    netns::{self, WhoHas},
    netstat::{self, NetnsCounters, NetstatError},
};

/// Reason why a namespace could not be read from inside.
#[derive(Debug, thiserror::Error)]
pub enum EnterError {
    /// The file is now bound to another namespace, or to none.
    #[error("its name is another's now")]
    Renamed,
    /// The namespace cannot be entered.
    #[error("it cannot be entered (that needs CAP_SYS_ADMIN): {0}")]
    Refused(io::Error),
    /// The namespace was entered, and its counters cannot be read.
    #[error(transparent)]
    Netstat(#[from] NetstatError),
}

/// Reads the namespaces that these files are bound to.
pub(super) fn read(
    files: &[(Netns, PathBuf)],
    who: WhoHas<'_>,
) -> Vec<(Netns, Result<NetnsCounters, EnterError>)> {
    let read = || files.iter().map(|(netns, file)| (*netns, one(*netns, file, who))).collect();
    let refused = |error: &io::Error| {
        let refused = |(netns, _): &(Netns, PathBuf)| {
            (*netns, Err(EnterError::Refused(io::Error::new(error.kind(), error.to_string()))))
        };
        files.iter().map(refused).collect()
    };
    // The thread never returns to the namespace it started in, so it is used for nothing else.
    thread::scope(|scope| {
        match thread::Builder::new().name("netns-reader".to_owned()).spawn_scoped(scope, read) {
            Ok(reader) => reader.join().unwrap_or_else(|_| refused(&io::Error::other("the reader failed"))),
            Err(error) => refused(&error),
        }
    })
}

fn one(netns: Netns, path: &PathBuf, who: WhoHas<'_>) -> Result<NetnsCounters, EnterError> {
    // The open file keeps the namespace alive until the end of this function, so that its number is not
    // reused.
    let file = File::open(path).map_err(EnterError::Refused)?;
    let inode = file.metadata().ok().and_then(|file| netns::of_file(&file));
    if inode.map(who) != Some(netns) {
        return Err(EnterError::Renamed);
    }
    setns(&file, CloneFlags::CLONE_NEWNET).map_err(|errno| EnterError::Refused(errno.into()))?;
    Ok(netstat::read("/proc/thread-self/net")?)
}

#[cfg(test)]
mod tests {
    use nix::{
        mount::{MsFlags, mount},
        sched::unshare,
    };

    use super::*;

    /// Binds a namespace in a mount namespace of the calling thread's own, so that nothing of it is left.
    fn bind_a_namespace_of_nobody(file: &std::path::Path) -> nix::Result<u32> {
        const NONE: Option<&str> = None;
        unshare(CloneFlags::CLONE_NEWNS | CloneFlags::CLONE_NEWNET)?;
        mount(NONE, "/", NONE, MsFlags::MS_REC | MsFlags::MS_PRIVATE, NONE)?;
        mount(Some("/proc/thread-self/ns/net"), file, NONE, MsFlags::MS_BIND, NONE)?;
        let bound = netns::of_task(std::path::Path::new("/proc/thread-self"));
        // Back to the namespace of the process, so that only the file refers to the new one.
        setns(File::open("/proc/self/ns/net").map_err(|_| nix::Error::EIO)?, CloneFlags::CLONE_NEWNET)?;
        bound.map_err(|_| nix::Error::EIO)
    }

    #[test]
    fn a_namespace_nobody_is_in_is_read_by_its_file_and_not_mistaken_for_another() {
        let file = tempfile::NamedTempFile::new().expect("a file");
        let path = file.path().to_owned();
        // In a thread of its own, since it ends up in another mount namespace.
        let read = thread::spawn(move || {
            let inode = bind_a_namespace_of_nobody(&path).ok()?;
            let second = |inode| Netns { inode, generation: 2 };
            let files = [(second(inode), path.clone()), (Netns::at_attach(inode), path)];
            Some((second(inode), read(&files, &second)))
        });
        // Requires root; the test has nothing to check otherwise.
        let Some((netns, read)) = read.join().expect("it ends") else { return };
        let [(first, Ok(counters)), (_, Err(EnterError::Renamed))] = &read[..] else { panic!("{read:?}") };
        assert_eq!((*first, *counters), (netns, NetnsCounters::default()), "a new one has counted nothing");
    }
}
