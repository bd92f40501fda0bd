//! What the process may do: takes up what it was granted, and gives up, once the programs are attached, what only
//! attaching needed.
//!
//! Capabilities belong to threads: it must be done while there is one, which all later ones inherit from.

use caps::{CapSet, Capability, CapsHashSet, errors::CapsError};
use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// Makes the capabilities that the process may have those it has: a file's capabilities may come as permitted only, as
/// the container image's do.
///
/// # Errors
/// The kernel does not say which there are, or refuses one of them, which it has no reason to.
pub fn take_up_granted() -> Result<(), CapsError> {
    caps::set(None, CapSet::Effective, &caps::read(None, CapSet::Permitted)?)
}

/// Lets the process have as many open files as it may, for clients that keep connections open. Shells give 1024. A hard
/// limit below what is needed is raised as well, where CAP_SYS_RESOURCE allows that.
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

/// What the daemon still does with each capability it keeps; it keeps those of them that it was given.
const KEPT: [Capability; 4] = [
    // Gives slots back to the kernel side by running a program.
    Capability::CAP_BPF,
    // Reads what descriptors processes have, to tell whose socket it is.
    Capability::CAP_SYS_PTRACE,
    Capability::CAP_DAC_READ_SEARCH,
    // Enters network namespaces to read their queues.
    Capability::CAP_SYS_ADMIN,
];

/// Drops every capability but those still needed, and the way back to them; returns which are left.
///
/// # Errors
/// The kernel does not say which there are, or refuses to take one back, which it has no reason to.
pub fn drop_unneeded() -> Result<Vec<Capability>, CapsError> {
    let given = caps::read(None, CapSet::Permitted)?;
    let kept: CapsHashSet = KEPT.into_iter().filter(|capability| given.contains(capability)).collect();
    caps::clear(None, CapSet::Ambient)?;
    // What a program we start could get, if we ever started one. It takes CAP_SETPCAP, which a daemon that is not root
    // does not have; its unit bounds it then.
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
        // In a thread of its own: the test runner's others keep what they have.
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
