//! Privileges of the process: raised to those granted, and dropped once the programs are attached.
//!
//! Capabilities belong to threads: they must be set while there is one, from which later threads inherit
//! them.

use caps::{CapSet, Capability, CapsHashSet, errors::CapsError};
use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// Raises all permitted capabilities to effective ones.
/// A file's capabilities may be granted as permitted only, as those of the container image are.
///
/// # Errors
/// The kernel does not report the capabilities, or refuses one of them, for which it has no reason.
pub fn take_up_granted() -> Result<(), CapsError> {
    caps::set(None, CapSet::Effective, &caps::read(None, CapSet::Permitted)?)
}

/// Raises the limit of open files, for clients that keep connections open: shells give 1024.
/// A hard limit below what is needed is raised as well if CAP_SYS_RESOURCE allows it.
pub fn raise_open_files() {
    let raised = getrlimit(Resource::RLIMIT_NOFILE).and_then(|(_, most)| {
        let enough = most.max(netqueue_kernel::FILES_NEEDED);
        setrlimit(Resource::RLIMIT_NOFILE, enough, enough)
            .or_else(|_| setrlimit(Resource::RLIMIT_NOFILE, most, most))
    });
    if let Err(error) = raised {
        tracing::debug!(%error, "the limit of open files stays as it is");
    }
}

/// Capabilities that the daemon keeps if it has them, with what it still needs each of them for.
const KEPT: [Capability; 4] = [
    // Returns slots to the kernel side by running a program.
    Capability::CAP_BPF,
    // Reads the file descriptors of processes to find the owners of sockets.
    Capability::CAP_SYS_PTRACE,
    Capability::CAP_DAC_READ_SEARCH,
    // Enters network namespaces to read their queues.
    Capability::CAP_SYS_ADMIN,
];

/// Drops every capability that is no longer needed, irrevocably; returns those that are left.
///
/// # Errors
/// The kernel does not report the capabilities, or refuses to drop one, for which it has no reason.
pub fn drop_unneeded() -> Result<Vec<Capability>, CapsError> {
    let given = caps::read(None, CapSet::Permitted)?;
    let kept: CapsHashSet = KEPT.into_iter().filter(|capability| given.contains(capability)).collect();
    caps::clear(None, CapSet::Ambient)?;
    // Limits what a program that we execute could get; we execute none. Dropping these takes CAP_SETPCAP,
    // which a daemon that is not root does not have; its systemd unit bounds it then.
    if caps::has_cap(None, CapSet::Effective, Capability::CAP_SETPCAP)? {
        for capability in caps::read(None, CapSet::Bounding)?.difference(&kept) {
            caps::drop(None, CapSet::Bounding, *capability)?;
        }
    }
    caps::set(None, CapSet::Effective, &kept)?;
    caps::set(None, CapSet::Inheritable, &CapsHashSet::new())?;
    caps::set(None, CapSet::Permitted, &kept)?;
    let mut left: Vec<_> = kept.into_iter().collect();
    left.sort_by_key(Capability::index);
    Ok(left)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_not_needed_is_gone_for_good_in_this_thread_and_those_it_starts() {
        // In a thread of its own: the test runner's other threads keep their capabilities.
        let thread = std::thread::spawn(|| {
            let before = caps::read(None, CapSet::Permitted).expect("readable");
            let left = drop_unneeded().expect("nothing stands against it");
            let later = std::thread::spawn(|| caps::read(None, CapSet::Permitted).expect("readable"));
            let inherited = later.join().expect("it ends");
            assert_eq!(inherited, left.iter().copied().collect());
            assert!(
                inherited.iter().all(|capability| KEPT.contains(capability) && before.contains(capability))
            );
            assert!(caps::raise(None, CapSet::Effective, Capability::CAP_NET_ADMIN).is_err());
        });
        thread.join().expect("it passes");
    }
}
