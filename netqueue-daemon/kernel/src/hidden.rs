//! Reasons why /proc/kallsyms shows address 0, after kallsyms_show_value() in kernel/ksyms_common.c.

use std::fs;

const RESTRICT: &str = "/proc/sys/kernel/kptr_restrict";
const PARANOID: &str = "/proc/sys/kernel/perf_event_paranoid";

/// The sysctls that decide who sees addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hidden {
    restrict: Option<u8>,
    paranoid: Option<u8>,
}

impl Hidden {
    /// Reads the sysctls.
    pub(super) fn read() -> Self {
        Self { restrict: sysctl(RESTRICT), paranoid: paranoid() }
    }

    /// Cause and cure in one sentence.
    pub(super) fn sentence(self) -> String {
        match self.restrict {
            Some(2..) => {
                "kernel.kptr_restrict is 2, which hides them from everyone; run `sysctl kernel.kptr_restrict=1`".to_owned()
            }
            restrict => {
                let known = |value: Option<u8>| value.map_or("unknown".to_owned(), |value| value.to_string());
                format!(
                    "CAP_SYSLOG is missing; grant it (systemd: AmbientCapabilities=CAP_BPF CAP_PERFMON CAP_SYSLOG), or \
                     hand the file in as standard input (systemd: StandardInput=file:/proc/kallsyms). Without it they are \
                     shown only where kernel.kptr_restrict is 0 (it is {}) and kernel.perf_event_paranoid at most 1 (it is {})",
                    known(restrict),
                    known(self.paranoid)
                )
            }
        }
    }
}

/// Reads kernel.perf_event_paranoid; `None` where it is negative or unreadable.
pub(super) fn paranoid() -> Option<u8> {
    sysctl(PARANOID)
}

fn sysctl(path: &str) -> Option<u8> {
    fs::read_to_string(path).ok()?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_missing_capability_is_named_where_a_sysctl_alone_would_not_help() {
        for restrict in [Some(0), Some(1), None] {
            let sentence = Hidden { restrict, paranoid: Some(3) }.sentence();
            assert!(
                sentence.starts_with("CAP_SYSLOG is missing") && sentence.contains("(it is 3)"),
                "{sentence}"
            );
        }
    }

    #[test]
    fn where_nobody_may_see_them_no_capability_is_asked_for() {
        let sentence = Hidden { restrict: Some(2), paranoid: Some(2) }.sentence();
        assert!(sentence.contains("kptr_restrict=1") && !sentence.contains("CAP_SYSLOG"), "{sentence}");
    }
}
