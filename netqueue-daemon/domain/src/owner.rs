//! Processes that own listening sockets, and their place in the system.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::Known;

/// Process that owns a listening socket.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Owner {
    /// Process id in the daemon's PID namespace.
    pub pid: u32,
    /// Start time in clock ticks since boot, which together with the pid is unique for ever.
    pub started: u64,
    /// Short name, printable.
    pub comm: Arc<str>,
    /// Executable, printable.
    pub executable: Known<Arc<str>>,
    /// Cgroup and what its path reveals.
    pub place: Known<Arc<CgroupInfo>>,
    /// True if the process has ended since; the last known owners are kept.
    pub ended: bool,
}

/// Cgroup and what its path reveals.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct CgroupInfo {
    /// Path, printable.
    pub cgroup: Arc<str>,
    /// Systemd unit: a service, scope or slice.
    pub unit: Option<Arc<str>>,
    /// Container id, as the runtime uses it.
    pub container: Option<Arc<str>>,
    /// Runtime of the container.
    pub runtime: Option<Runtime>,
    /// Uid of the Kubernetes pod.
    pub pod: Option<Arc<str>>,
}

/// Container runtime, as far as the cgroup's path reveals it.
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
    /// Kubernetes, with a runtime that the path does not reveal.
    Kubernetes,
}

impl Runtime {
    /// Returns the name of the runtime.
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

/// Returns whether a character reorders or hides text, so that a process's name could pass for another.
pub(super) const fn is_invisible(c: char) -> bool {
    matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}
