//! Temporary changes of settings of the whole machine, which `--host-settings` permits.

use std::fs;
use std::io::ErrorKind;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result};
use nix::sys::time::TimeSpec;
use nix::time::{ClockId, clock_settime};

use super::expectation::LabSettings;
use super::verdict::Skip;

/// Skips the experiment unless `--host-settings` permits such a change.
pub(super) fn allowed(settings: LabSettings, what_it_does: &str) -> Result<()> {
    if settings.host_settings {
        return Ok(());
    }
    Err(Skip::because(format!("{what_it_does}: --host-settings allows that")))
}

/// A machine-wide setting (no namespace has its own), changed until restored or dropped.
pub(super) struct HostSetting {
    path: String,
    before: String,
}

impl HostSetting {
    /// Writes `value` to `/proc/sys/NAME`; skips if the kernel refuses the change now.
    /// Kernels that consider the trampolines of fentry programs permanent (kernel/trace/ftrace.c
    /// `is_permanent_ops_registered`) refuse to switch ftrace off while any are attached.
    pub(super) fn change(name: &str, value: u64) -> Result<Self> {
        let path = format!("/proc/sys/{name}");
        let before = fs::read_to_string(&path)
            .map_err(|error| Skip::because(format!("{path} cannot be read: {error}")))?;
        let setting = Self { path, before };
        match fs::write(&setting.path, value.to_string()) {
            Err(error) if error.kind() == ErrorKind::ResourceBusy => Err(Skip::because(format!(
                "the kernel does not let {} be {value} now: {error}",
                setting.path
            ))),
            written => {
                written.map(|()| setting).with_context(|| format!("cannot write {value} to /proc/sys/{name}"))
            }
        }
    }

    fn write(&self, value: &str) -> Result<()> {
        fs::write(&self.path, value).with_context(|| format!("cannot write {value} to {}", self.path))
    }

    /// Writes the previous value back.
    pub(super) fn restore(self) -> Result<()> {
        self.write(self.before.trim())
    }
}

impl Drop for HostSetting {
    fn drop(&mut self) {
        // After a failure, or a second time after `restore`.
        let _ = self.write(self.before.trim());
    }
}

/// The wall clock, set back until restored or dropped.
pub(super) struct ClockSetBack {
    by: Duration,
    restored: bool,
}

impl ClockSetBack {
    /// Sets the wall clock back.
    pub(super) fn by(by: Duration) -> Result<Self> {
        let set = SystemTime::now().checked_sub(by).context("the wall clock shows an impossible time")?;
        set_wall_clock(set)
            .map_err(|error| Skip::because(format!("the wall clock cannot be set: {error:#}")))?;
        Ok(Self { by, restored: false })
    }

    /// Sets the wall clock to the time it would show without the change.
    pub(super) fn restore(mut self) -> Result<()> {
        self.forward()
    }

    fn forward(&mut self) -> Result<()> {
        if !self.restored {
            set_wall_clock(SystemTime::now() + self.by)?;
            self.restored = true;
        }
        Ok(())
    }
}

impl Drop for ClockSetBack {
    fn drop(&mut self) {
        // After a failure.
        let _ = self.forward();
    }
}

fn set_wall_clock(to: SystemTime) -> Result<()> {
    let time = TimeSpec::from(to.duration_since(UNIX_EPOCH)?);
    clock_settime(ClockId::CLOCK_REALTIME, time).context("clock_settime failed")
}
