//! Whether this kernel preempts what runs in process context, and so a program that is attached there by fentry.

use std::{fs, path::Path};

/// Only a kernel with PREEMPT_RT has it.
const REALTIME: &str = "/sys/kernel/realtime";
/// Where a kernel whose preemption is chosen at boot says what it is, to root, where debugfs is mounted.
const CHOSEN: &str = "/sys/kernel/debug/sched/preempt";
const VERSION: &str = "/proc/sys/kernel/version";

/// Kinds of preemption inside the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Preemption {
    /// Nothing that runs in the kernel.
    No,
    /// Tasks, wherever they are in the kernel, but not softirqs.
    OfTasks,
    /// Everything: softirqs are threads (PREEMPT_RT).
    Realtime,
}

/// Returns this kernel's preemption. PREEMPT_DYNAMIC with an unreadable choice counts as preempting: kprobes are right there either way.
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

/// How this kernel preempts; `None` where it does not, or does not say.
pub(super) fn kind() -> Option<&'static str> {
    let read = |path| fs::read_to_string(path).unwrap_or_default();
    if is_realtime() { Some("PREEMPT_RT") } else { of(&read(CHOSEN), &read(VERSION)) }
}

/// The same by what these files hold: the choice in force is in parentheses (kernel/sched/debug.c sched_dynamic_show), and a kernel
/// that always preempts says so in its version.
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
