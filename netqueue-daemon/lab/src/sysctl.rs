//! Sysctls of the calling thread's network namespace, under `/proc/sys/net`.

use std::fs;

use anyhow::{Result, anyhow};

use super::verdict::Skip;

/// Sets `/proc/sys/net/NAME` to `value`; writes only if the current value differs.
pub(super) fn ensure(name: &str, value: u64) -> Result<()> {
    let path = format!("/proc/sys/net/{name}");
    let current = fs::read_to_string(&path)
        .map_err(|error| Skip::because(format!("{path} cannot be read: {error}")))?;
    if current.trim() == value.to_string() {
        return Ok(());
    }
    fs::write(&path, value.to_string()).map_err(|error| {
        anyhow!(Skip(format!(
            "{path} is {} and must be {value}, but cannot be written: {error}",
            current.trim()
        )))
    })
}

/// Sets the initial sysctls of every experiment, independent of the distribution's defaults.
pub(super) fn defaults() -> Result<()> {
    ensure("ipv4/tcp_syncookies", 1)?;
    ensure("ipv4/tcp_abort_on_overflow", 0)?;
    ensure("core/somaxconn", 4096)
}
