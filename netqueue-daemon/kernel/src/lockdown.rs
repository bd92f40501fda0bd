//! Checks lockdown, which at the level `confidentiality` hides kernel memory from eBPF programs, too.

use std::fs;

use super::error::AttachError;

/// State of lockdown in securityfs, which most containers do not mount.
const FILE: &str = "/sys/kernel/security/lockdown";

/// Describes the level in force; an error if it hides kernel memory.
///
/// Where the file is missing, the kernel's refusal of a program has the same effect later.
pub(super) fn check() -> Result<String, AttachError> {
    let levels = fs::read_to_string(FILE).unwrap_or_default();
    match in_force(&levels) {
        Some("confidentiality") => Err(AttachError::Lockdown),
        Some(level) => Ok(format!("lockdown is {level}")),
        None => Ok(format!("{FILE} does not exist: not known to be in force")),
    }
}

/// Returns the level in brackets, as in `none [integrity] confidentiality`.
fn in_force(levels: &str) -> Option<&str> {
    Some(levels.split_once('[')?.1.split_once(']')?.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_level_in_brackets_is_in_force() {
        assert_eq!(in_force("none integrity [confidentiality]\n"), Some("confidentiality"));
        assert_eq!(in_force("[none] integrity confidentiality\n"), Some("none"));
        assert_eq!(in_force(""), None);
    }
}
