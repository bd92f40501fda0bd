//! PID 1 of a test guest: sets up, carries out the job, prints one verdict line, and powers off.
//! As a service of the PID 1 to which it has handed over, it carries out the rest of the job.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "the console is the only way out of a guest")]
mod console;
mod network;
mod steps;
mod successor;
mod system;

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};

use anyhow::{Context, Result};
use guest_init::job::{self, Step};
use guest_init::protocol;
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
    // Failures from here on cannot be reported; the host's deadline then ends the guest.
    let _ = tcdrain(std::io::stdout());
    nix::unistd::sync();
    let _ = reboot(RebootMode::RB_POWER_OFF);
    loop {
        std::thread::park();
    }
}

fn perform() -> Result<()> {
    if std::process::id() != 1 {
        return steps::perform(&read(job::REST)?);
    }
    let kernel = nix::sys::utsname::uname().context("the kernel does not say its name")?;
    say(format_args!("Linux {}", kernel.release().to_string_lossy()));
    system::mount_all()?;
    system::use_a_quota();
    system::lift_memlock()?;
    system::load_modules()?;
    network::loopback()?;
    let steps = read(job::FILE)?;
    let handed_over = steps
        .iter()
        .enumerate()
        .find_map(|(at, step)| if let Step::HandOver { argv } = step { Some((at, argv)) } else { None });
    let Some((at, argv)) = handed_over else { return steps::perform(&steps) };
    steps::perform(&steps[..at])?;
    match successor::hand_over(argv, &steps[at + 1..])? {}
}

fn read(file: &str) -> Result<Vec<Step>> {
    let text = fs::read_to_string(file).with_context(|| format!("{file} cannot be read"))?;
    job::read(&text)
}
