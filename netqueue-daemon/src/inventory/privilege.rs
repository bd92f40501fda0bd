//! Capabilities that the inventory needs, and whether this process has them.

use std::fs;

use netqueue_domain::{Capability, Unknown};

/// Bit numbers of include/uapi/linux/capability.h.
const DAC_READ_SEARCH: u32 = 2;
const SYS_PTRACE: u32 = 19;

/// Returns why other users' processes cannot be examined: the capabilities that are missing, if any.
pub(super) fn missing_to_look_at_processes() -> Unknown {
    let effective = fs::read_to_string("/proc/thread-self/status").ok().and_then(|status| effective(&status));
    missing(effective.unwrap_or(0))
}

fn missing(effective: u64) -> Unknown {
    let has = |bit: u32| effective >> bit & 1 != 0;
    match (has(SYS_PTRACE), has(DAC_READ_SEARCH)) {
        (false, false) => Unknown::Privilege(&[Capability::SysPtrace, Capability::DacReadSearch]),
        (false, true) => Unknown::Privilege(&[Capability::SysPtrace]),
        (true, false) => Unknown::Privilege(&[Capability::DacReadSearch]),
        // With both capabilities, a security module must have refused.
        (true, true) => Unknown::Unreadable,
    }
}

fn effective(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("CapEff:"))?;
    u64::from_str_radix(line.trim(), 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_is_named_and_nothing_else() {
        let of = |status: &str| missing(effective(status).expect("a line"));
        const BOTH: &[Capability] = &[Capability::SysPtrace, Capability::DacReadSearch];
        assert_eq!(of("Name:\tx\nCapEff:\t0000000000000000\n"), Unknown::Privilege(BOTH));
        assert_eq!(of("CapEff:\t0000000000080000\n"), Unknown::Privilege(&[Capability::DacReadSearch]));
        assert_eq!(of("CapEff:\t0000000000000004\n"), Unknown::Privilege(&[Capability::SysPtrace]));
        assert_eq!(of("CapEff:\t000001ffffffffff\n"), Unknown::Unreadable);
    }
}
