//! Network namespace of the host.
//!
//! In a container, PID 1 is the container's, so the namespace found may not be the host's.

use std::{fs, io, path::Path};

use netqueue_domain::{Netns, Obstacle};

use super::netns::{inode_of, of_task};

/// Inode number of the initial PID namespace (`PROC_PID_INIT_INO` in include/linux/proc_ns.h).
const INITIAL_PIDNS: u32 = 0xEFFF_FFFC;

/// Sysctl that the kernel registers for the initial network namespace only.
/// (`net_core_table` in net/core/sysctl_net_core.c.) /proc/sys shows each process those of its own namespace,
/// so the file shows whether that is the initial one; before 6.18, its inode number does not.
const OF_INITIAL_NETNS: &str = "/proc/sys/net/core/netdev_max_backlog";

/// Network namespace that is compared first, and what is hidden from there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Host {
    /// Network namespace of the host, or of the container if the host's is not visible.
    pub netns: Netns,
    /// Obstacle that hides parts of the host; `None` if there is none.
    pub obstacle: Option<Obstacle>,
}

impl Host {
    /// Returns whether the namespace is the host's.
    #[must_use]
    pub fn is_seen(&self) -> bool {
        self.obstacle != Some(Obstacle::ForeignNetns)
    }
}

/// Finds the host's network namespace, as far as it is visible.
/// The daemon's own if that is the initial one or PID 1's cannot be read, else PID 1's.
///
/// # Errors
/// The daemon's own namespace cannot be read.
pub fn find() -> io::Result<Host> {
    let pidns = |directory| inode_of(Path::new(directory), "pid").ok();
    Ok(classify(&Namespaces {
        of_pid_1: of_task(Path::new("/proc/1")).ok(),
        own: of_task(Path::new("/proc/self"))?,
        own_is_initial: fs::exists(OF_INITIAL_NETNS).unwrap_or(false),
        // /proc may show another PID namespace than the daemon's; PID 1 belongs to the one shown.
        pidns: pidns("/proc/1").or_else(|| pidns("/proc/self")),
    }))
}

/// Facts about namespaces from which the host's is inferred.
#[derive(Clone, Copy)]
struct Namespaces {
    of_pid_1: Option<u32>,
    own: u32,
    own_is_initial: bool,
    pidns: Option<u32>,
}

fn classify(seen: &Namespaces) -> Host {
    let host_pids = seen.pidns == Some(INITIAL_PIDNS);
    let (netns, is_host) = match seen.of_pid_1 {
        _ if seen.own_is_initial => (seen.own, true),
        Some(of_pid_1) => (of_pid_1, host_pids),
        None => (seen.own, false),
    };
    let obstacle = match (is_host, host_pids) {
        (true, true) => None,
        (true, false) => Some(Obstacle::ForeignPidns),
        (false, _) => Some(Obstacle::ForeignNetns),
    };
    Host { netns: Netns::at_attach(netns), obstacle }
}

#[cfg(test)]
mod tests {
    use super::*;

    const INITIAL: u32 = 4_026_531_840;
    const OTHER: u32 = 4_026_532_201;
    const ON_HOST: Namespaces = Namespaces {
        of_pid_1: Some(INITIAL),
        own: INITIAL,
        own_is_initial: true,
        pidns: Some(INITIAL_PIDNS),
    };

    fn is(seen: Namespaces, netns: u32, obstacle: Option<Obstacle>) {
        assert_eq!(classify(&seen), Host { netns: Netns::at_attach(netns), obstacle });
    }

    #[test]
    fn on_the_host_and_in_a_container_with_its_namespaces_nothing_is_hidden() {
        is(ON_HOST, INITIAL, None);
        is(Namespaces { own: OTHER, own_is_initial: false, ..ON_HOST }, INITIAL, None);
        is(Namespaces { of_pid_1: None, ..ON_HOST }, INITIAL, None);
    }

    #[test]
    fn a_container_of_its_own_is_no_host() {
        let container =
            Namespaces { of_pid_1: Some(OTHER), own: OTHER, own_is_initial: false, pidns: Some(OTHER + 1) };
        is(container, OTHER, Some(Obstacle::ForeignNetns));
        let unprivileged = Namespaces { of_pid_1: None, pidns: Some(INITIAL_PIDNS), ..container };
        is(unprivileged, OTHER, Some(Obstacle::ForeignNetns));
    }

    #[test]
    fn a_container_with_the_hosts_network_alone_sees_the_host_and_not_its_processes() {
        let container = Namespaces { pidns: Some(OTHER), ..ON_HOST };
        is(container, INITIAL, Some(Obstacle::ForeignPidns));
        is(Namespaces { of_pid_1: Some(OTHER), ..container }, INITIAL, Some(Obstacle::ForeignPidns));
    }
}
