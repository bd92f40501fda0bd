//! Checks whether this host lets netqueue attach, and replaces this process by the daemon.

use std::fs;
use std::net::SocketAddr;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, ExitCode};

use anyhow::{Error, Result};

/// Capability numbers of linux/capability.h.
const CAP_SYS_ADMIN: u32 = 21;
const CAP_PERFMON: u32 = 38;
const CAP_BPF: u32 = 39;

/// Paths, any of which proves that the kernel has kprobes.
const KPROBES: [&str; 3] = [
    "/sys/bus/event_source/devices/kprobe",
    "/sys/kernel/tracing/kprobe_events",
    "/sys/kernel/debug/tracing/kprobe_events",
];

/// Describes each obstacle to attaching on this host; empty if there is none.
pub(crate) fn obstacles() -> Vec<String> {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let kprobes = KPROBES.iter().any(|path| Path::new(path).exists());
    let btf = Path::new("/sys/kernel/btf/vmlinux").exists();
    judge(&status, kprobes, btf)
}

fn judge(status: &str, kprobes: bool, btf: bool) -> Vec<String> {
    let mut obstacles = Vec::new();
    if !may_attach(effective_capabilities(status)) {
        obstacles.push("this user is not root and has not both CAP_BPF and CAP_PERFMON".to_owned());
    }
    if !kprobes {
        obstacles.push("its kernel has no kprobes (CONFIG_KPROBES, CONFIG_KPROBE_EVENTS)".to_owned());
    }
    if !btf {
        obstacles.push("its kernel has no BTF at /sys/kernel/btf/vmlinux (CONFIG_DEBUG_INFO_BTF)".to_owned());
    }
    obstacles
}

/// Replaces this process by the daemon, so that signals and the exit code are the daemon's own.
pub(crate) fn become_daemon(binary: &Path, address: SocketAddr, arguments: &[String]) -> Result<ExitCode> {
    let mut daemon = Command::new(binary);
    daemon.args(["daemon", "--web.listen-address", &address.to_string()]).args(arguments);
    Err(Error::from(daemon.exec()).context(format!("{} cannot be started", binary.display())))
}

fn effective_capabilities(status: &str) -> u64 {
    let line = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    line.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0)
}

fn may_attach(effective: u64) -> bool {
    let has = |capability: u32| effective & (1 << capability) != 0;
    has(CAP_SYS_ADMIN) || (has(CAP_BPF) && has(CAP_PERFMON))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_capabilities_or_the_old_one_will_do() {
        assert!(may_attach(1 << CAP_BPF | 1 << CAP_PERFMON));
        assert!(may_attach(1 << CAP_SYS_ADMIN));
        assert!(!may_attach(1 << CAP_BPF));
    }

    #[test]
    fn every_obstacle_is_named() {
        assert_eq!(judge("CapEff:\t000001ffffffffff\n", true, true), Vec::<String>::new());
        let all = judge("CapEff:\t0000000000000000\n", false, false);
        assert_eq!(all.len(), 3, "{all:?}");
    }
}
