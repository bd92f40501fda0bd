//! Determines whether this kernel preempts tasks, and so fentry programs attached to their functions.

use std::{fs, path::Path};

/// Exists only on a kernel with PREEMPT_RT.
const REALTIME: &str = "/sys/kernel/realtime";
/// Preemption chosen at boot, on kernels that allow the choice. For root only, where debugfs is
/// mounted.
const CHOSEN: &str = "/sys/kernel/debug/sched/preempt";
const VERSION: &str = "/proc/sys/kernel/version";

/// Preemption inside the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Preemption {
    /// No preemption of anything that runs in the kernel.
    No,
    /// Tasks are preempted anywhere in the kernel, softirqs are not.
    OfTasks,
    /// Everything is preempted: softirqs are threads (PREEMPT_RT).
    Realtime,
}

/// Returns this kernel's preemption.
///
/// PREEMPT_DYNAMIC with an unreadable choice counts as preempting: kprobes are right there either way.
pub(super) fn find() -> Preemption {
    let read = |path| fs::read_to_string(path).unwrap_or_default();
    if is_realtime() {
        Preemption::Realtime
    } else if may_preempt(&read(CHOSEN), &read(VERSION)) {
        Preemption::OfTasks
    } else {
        Preemption::No
    }
}

fn is_realtime() -> bool {
    Path::new(REALTIME).exists()
}

/// Returns true if a kernel preempts tasks, or may have been booted so.
fn may_preempt(chosen: &str, version: &str) -> bool {
    of(chosen, version).is_some() || (chosen.is_empty() && version.contains("PREEMPT_DYNAMIC"))
}

/// Names the way this kernel preempts; `None` where it does not, or the choice is unreadable.
pub(super) fn kind() -> Option<&'static str> {
    let read = |path| fs::read_to_string(path).unwrap_or_default();
    if is_realtime() { Some("PREEMPT_RT") } else { of(&read(CHOSEN), &read(VERSION)) }
}

/// Names the way a kernel with these two files preempts.
///
/// The choice in force is in parentheses (kernel/sched/debug.c sched_dynamic_show); a kernel that always
/// preempts has the word PREEMPT in its version.
fn of(chosen: &str, version: &str) -> Option<&'static str> {
    match chosen.split_whitespace().find(|word| word.starts_with('(')) {
        Some("(full)") => Some("preempt=full"),
        Some("(lazy)") => Some("preempt=lazy"),
        Some(_) => None,
        None => version.split_whitespace().any(|word| word == "PREEMPT").then_some("CONFIG_PREEMPT"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_have_been_chosen_is_taken_for_chosen() {
        assert!(may_preempt("", "#1 SMP PREEMPT_DYNAMIC Debian 6.12.107-1 (2026-10-01)"));
        assert!(may_preempt("none voluntary (full) lazy\n", "#1 SMP PREEMPT_DYNAMIC Debian"));
        assert!(!may_preempt("none (voluntary) full\n", "#1 SMP PREEMPT_DYNAMIC Debian"));
        assert!(!may_preempt("", "#1 SMP Debian 5.10.223-1"));
    }

    #[test]
    fn what_is_in_force_counts() {
        const DYNAMIC: &str = "#1 SMP PREEMPT_DYNAMIC Debian 6.12.107-1 (2026-10-01)";
        assert_eq!(of("none (voluntary) full\n", DYNAMIC), None);
        assert_eq!(of("none voluntary (full) lazy\n", DYNAMIC), Some("preempt=full"));
        assert_eq!(of("full (lazy)\n", DYNAMIC), Some("preempt=lazy"));
        assert_eq!(of("", DYNAMIC), None);
        assert_eq!(of("", "#1 SMP PREEMPT Debian"), Some("CONFIG_PREEMPT"));
        assert_eq!(of("", "#1 SMP Debian 5.10.223-1"), None);
    }
}
