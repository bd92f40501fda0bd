//! A process that holds a listening socket, and where the system put it.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::Known;

/// A process that holds a listening socket.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Owner {
    /// Its number in the daemon's PID namespace.
    pub pid: u32,
    /// When it started, in clock ticks since boot: with the number it names one process for ever.
    pub started: u64,
    /// Its short name, printable.
    pub comm: Arc<str>,
    /// Its executable, printable.
    pub executable: Known<Arc<str>>,
    /// Its cgroup and what that says.
    pub place: Known<Arc<Place>>,
    /// Whether it has ended since; the last ones known are kept.
    pub ended: bool,
}

/// A cgroup, and what its path says.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Place {
    /// The path, printable.
    pub cgroup: Arc<str>,
    /// The systemd unit: a service, scope or slice.
    pub unit: Option<Arc<str>>,
    /// The container's id, as its runtime knows it.
    pub container: Option<Arc<str>>,
    /// What runs the container.
    pub runtime: Option<Runtime>,
    /// The uid of the Kubernetes pod.
    pub pod: Option<Arc<str>>,
}

/// What runs a container, as far as the cgroup's path tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Runtime {
    /// Docker.
    Docker,
    /// containerd.
    Containerd,
    /// CRI-O.
    Crio,
    /// Podman.
    Podman,
    /// systemd-nspawn, or another machine registered with systemd.
    Machine,
    /// LXC or LXD.
    Lxc,
    /// Amazon ECS.
    Ecs,
    /// Of Kubernetes, by which runtime is not told.
    Kubernetes,
}

impl Runtime {
    /// The word for it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Docker => "docker",
            Self::Containerd => "containerd",
            Self::Crio => "cri-o",
            Self::Podman => "podman",
            Self::Machine => "machine",
            Self::Lxc => "lxc",
            Self::Ecs => "ecs",
            Self::Kubernetes => "kubernetes",
        }
    }
}

/// Characters that reorder or hide text: they would let a process's name look like something else.
pub(super) const fn is_invisible(c: char) -> bool {
    matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}
