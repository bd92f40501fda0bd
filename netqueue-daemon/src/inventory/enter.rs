//! Reads the counters of namespaces that no process is in, from inside: a thread of its own enters one after the other
//! and ends. Needs CAP_SYS_ADMIN.

use std::{fs::File, io, path::PathBuf, thread};

use nix::sched::{CloneFlags, setns};

use super::{
    netns,
    netstat::{self, Counters, NetstatError},
};
use crate::domain::Netns;

/// Why a namespace could not be read from inside.
#[derive(Debug, thiserror::Error)]
pub enum EnterError {
    /// The name is another namespace's now, or none's.
    #[error("its name is another's now")]
    Renamed,
    /// It cannot be entered.
    #[error("it cannot be entered (that needs CAP_SYS_ADMIN): {0}")]
    Refused(io::Error),
    /// It was entered and cannot be read.
    #[error(transparent)]
    Netstat(#[from] NetstatError),
}

/// Reads the namespaces these files are bound to.
pub(super) fn read(files: &[(Netns, PathBuf)], device: u64) -> Vec<(Netns, Result<Counters, EnterError>)> {
    let read = || files.iter().map(|(netns, file)| (*netns, one(*netns, file, device))).collect();
    let refused = |error: &io::Error| {
        let refused = |(netns, _): &(Netns, PathBuf)| {
            (*netns, Err(EnterError::Refused(io::Error::new(error.kind(), error.to_string()))))
        };
        files.iter().map(refused).collect()
    };
    // The thread never comes back to the namespace it started in, so it serves nothing else.
    thread::scope(|scope| {
        match thread::Builder::new().name("netns-reader".to_owned()).spawn_scoped(scope, read) {
            Ok(reader) => reader.join().unwrap_or_else(|_| refused(&io::Error::other("the reader failed"))),
            Err(error) => refused(&error),
        }
    })
}

fn one(netns: Netns, path: &PathBuf, device: u64) -> Result<Counters, EnterError> {
    // Opening a name holds the namespace until the file is closed, a few lines below.
    let file = File::open(path).map_err(EnterError::Refused)?;
    let bound = file.metadata().ok().and_then(|file| netns::bound_to(&file, device));
    if bound != Some(netns) {
        return Err(EnterError::Renamed);
    }
    setns(&file, CloneFlags::CLONE_NEWNET).map_err(|errno| EnterError::Refused(errno.into()))?;
    Ok(netstat::read_all("/proc/thread-self/net")?)
}

#[cfg(test)]
mod tests {
    use nix::{
        mount::{MsFlags, mount},
        sched::unshare,
    };

    use super::*;

    /// In a mount namespace of the calling thread's own, so that nothing of it is left.
    fn bind_a_namespace_of_nobody(file: &std::path::Path) -> nix::Result<Netns> {
        const NONE: Option<&str> = None;
        unshare(CloneFlags::CLONE_NEWNS | CloneFlags::CLONE_NEWNET)?;
        mount(NONE, "/", NONE, MsFlags::MS_REC | MsFlags::MS_PRIVATE, NONE)?;
        mount(Some("/proc/thread-self/ns/net"), file, NONE, MsFlags::MS_BIND, NONE)?;
        let bound = netns::of_task(std::path::Path::new("/proc/thread-self"));
        // Back to the process's, so that only the file refers to the new one.
        setns(File::open("/proc/self/ns/net").map_err(|_| nix::Error::EIO)?, CloneFlags::CLONE_NEWNET)?;
        bound.map_err(|_| nix::Error::EIO)
    }

    #[test]
    fn a_namespace_nobody_is_in_is_read_by_its_file_and_not_mistaken_for_another() {
        let device = netns::device("/proc".as_ref()).expect("it has one");
        let file = tempfile::NamedTempFile::new().expect("a file");
        let path = file.path().to_owned();
        // A thread of its own, since it ends up in another mount namespace.
        let read = thread::spawn(move || {
            let netns = bind_a_namespace_of_nobody(&path).ok()?;
            let files = [(netns, path.clone()), (Netns(netns.0 - 1), path)];
            Some((netns, read(&files, device)))
        });
        // Only root may do all this; elsewhere there is nothing to see.
        let Some((netns, read)) = read.join().expect("it ends") else { return };
        let [(first, Ok(counters)), (_, Err(EnterError::Renamed))] = &read[..] else { panic!("{read:?}") };
        assert_eq!((*first, *counters), (netns, Counters::default()), "a new one has counted nothing");
    }
}
