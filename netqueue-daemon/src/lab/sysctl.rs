//! The settings of the calling thread's network namespace, under `/proc/sys/net`.

use std::fs;

use anyhow::{Result, anyhow};

use super::verdict::Skip;

/// Makes `/proc/sys/net/NAME` hold `value`; writes only where it holds something else.
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

/// What every experiment starts from, so that a distribution's own defaults do not decide its outcome.
pub(super) fn defaults() -> Result<()> {
    ensure("ipv4/tcp_syncookies", 1)?;
    ensure("ipv4/tcp_abort_on_overflow", 0)?;
    ensure("core/somaxconn", 4096)
}
