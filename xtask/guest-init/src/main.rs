//! PID 1 of a test guest: set up, carry out the job, say one verdict line, switch off.

mod console;
mod network;
mod steps;
mod system;

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};

use anyhow::{Context, Result};
use guest_init::{job, protocol};
use nix::sys::reboot::{RebootMode, reboot};
use nix::sys::termios::tcdrain;

use crate::console::{line, say};

fn main() {
    // PID 1 must not end, or the kernel panics: whatever happens becomes the verdict.
    let outcome = match catch_unwind(AssertUnwindSafe(perform)) {
        Ok(outcome) => outcome.map_err(|error| format!("{error:#}")),
        Err(_) => Err("PID 1 panicked".to_owned()),
    };
    line("", &protocol::verdict(&outcome));
    // Nothing is left to be told to anyone if these fail; the host's deadline ends the guest.
    let _ = tcdrain(std::io::stdout());
    nix::unistd::sync();
    let _ = reboot(RebootMode::RB_POWER_OFF);
    loop {
        std::thread::park();
    }
}

fn perform() -> Result<()> {
    let kernel = nix::sys::utsname::uname().context("the kernel does not say its name")?;
    say(format_args!("Linux {}", kernel.release().to_string_lossy()));
    system::mount_all()?;
    system::lift_memlock()?;
    system::load_modules()?;
    network::loopback()?;
    let text = fs::read_to_string(job::FILE).with_context(|| format!("{} cannot be read", job::FILE))?;
    steps::perform(&job::read(&text)?)
}
