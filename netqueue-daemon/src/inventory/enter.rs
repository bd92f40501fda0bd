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
