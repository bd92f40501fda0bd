//! Reads the kernel's own switches, which turn attached programs off.

use std::fs;

use netqueue_domain::Obstacle;

/// Switches that turn programs off, each with its obstacle.
///
/// The switch of kprobes is in debugfs, which may not be mounted.
const SWITCHES: [(&str, Obstacle); 2] = [
    ("/proc/sys/kernel/ftrace_enabled", Obstacle::FtraceOff),
    ("/sys/kernel/debug/kprobes/enabled", Obstacle::KprobesOff),
];

/// Lists the switches that are off now. One that cannot be read does not count as off.
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
