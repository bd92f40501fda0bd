//! The kernel's own switches, which turn programs off that stay attached.

use std::fs;

use netqueue_domain::Obstacle;

/// Each switch that turns programs off, and what that is called. Kprobes have theirs in debugfs, which may not be mounted.
const SWITCHES: [(&str, Obstacle); 2] = [
    ("/proc/sys/kernel/ftrace_enabled", Obstacle::FtraceOff),
    ("/sys/kernel/debug/kprobes/enabled", Obstacle::KprobesOff),
];

/// Those that are off now. One that cannot be read is not known to be off.
pub fn switched_off() -> impl Iterator<Item = Obstacle> {
    let off = |path: &str| fs::read_to_string(path).is_ok_and(|value| is_off(&value));
    SWITCHES.into_iter().filter(move |(path, _)| off(path)).map(|(_, obstacle)| obstacle)
}

fn is_off(value: &str) -> bool {
    value.trim() == "0"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_zero_is_off() {
        assert!(is_off("0\n"));
        assert!(!is_off("1\n") && !is_off(""));
    }
}
