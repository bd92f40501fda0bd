//! Conditions of the machine that hide things from netqueue, each with its cause and its remedy.

use serde::{Deserialize, Serialize};

/// Condition of the machine at present.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Obstacle {
    /// netqueue runs in a container with a network namespace and a PID namespace of its own.
    ForeignNetns,
    /// netqueue runs in the host's network namespace, and in a PID namespace of its own.
    ForeignPidns,
    /// `kernel.ftrace_enabled` is 0.
    FtraceOff,
    /// `/sys/kernel/debug/kprobes/enabled` is 0.
    KprobesOff,
}

impl Obstacle {
    /// Returns cause and remedy in one sentence.
    #[must_use]
    pub const fn sentence(self) -> &'static str {
        match self {
            Self::ForeignNetns => {
                "netqueue runs in a container without the host's namespaces, so the host's listeners are not compared \
                 and no namespace is called `host`; start it with --pid host and CAP_SYS_PTRACE, or with --network \
                 host (Kubernetes: hostPID: true, as the chart has it, or hostNetwork: true)"
            }
            Self::ForeignPidns => {
                "netqueue runs in a container without the host's PID namespace, so listeners have no owners and other \
                 network namespaces are not found; start it with --pid host (Kubernetes: hostPID: true)"
            }
            Self::FtraceOff => {
                "kernel.ftrace_enabled is 0, which switches off every attached program: drops and resets are not \
                 attributed; run `sysctl kernel.ftrace_enabled=1`, and find out what sets it to 0"
            }
            Self::KprobesOff => {
                "/sys/kernel/debug/kprobes/enabled is 0, which switches off every program attached by kprobe: drops \
                 and resets may not be attributed; write 1 to it, and find out what sets it to 0"
            }
        }
    }

    /// Returns whether the condition hides from all programs what the kernel still counts.
    #[must_use]
    pub const fn hides_charges(self) -> bool {
        matches!(self, Self::FtraceOff | Self::KprobesOff)
    }
}
