//! Handover to another PID 1: systemd takes over, and a service carries out the rest of the job.

use std::convert::Infallible;
use std::ffi::CString;
use std::fs;
use std::os::unix::fs::symlink;

use anyhow::{Context, Result};
use guest_init::job::{self, Step};
use nix::unistd::execv;

use crate::console::say;

/// Folder of systemd units for this boot only.
/// The service below prints on the console what PID 1 would.
const UNITS: &str = "/run/systemd/system";
const SERVICE: &str = "[Unit]\n\
    Description=the rest of the job\n\
    After=multi-user.target\n\
    [Service]\n\
    ExecStart=/init\n\
    StandardOutput=file:/dev/console\n\
    StandardError=file:/dev/console\n";

/// Units for which the machine has no use, or for which it would wait.
/// The machine has no disk, no keyboard, and none of its kernel's other modules.
const MASKED: [&str; 6] = [
    "getty.target",
    "serial-getty@ttyS0.service",
    "ldconfig.service",
    "proc-sys-fs-binfmt_misc.automount",
    "systemd-firstboot.service",
    "systemd-modules-load.service",
];

/// File that marks the machine as set up, so that systemd does not treat this as a first boot.
const MACHINE_ID: &str = "/etc/machine-id";

/// Leaves the rest of the job to a service and executes `argv` as PID 1; returns only on failure.
pub(crate) fn hand_over(argv: &[String], rest: &[Step]) -> Result<Infallible> {
    fs::write(job::REST, job::write(rest)).context("the rest of the job cannot be written")?;
    let wanted = format!("{UNITS}/multi-user.target.wants");
    fs::create_dir_all(&wanted).with_context(|| format!("{wanted} cannot be made"))?;
    let service = format!("{UNITS}/guest-job.service");
    fs::write(&service, SERVICE).with_context(|| format!("{service} cannot be written"))?;
    symlink(&service, format!("{wanted}/guest-job.service")).context("the service cannot be enabled")?;
    for unit in MASKED {
        symlink("/dev/null", format!("{UNITS}/{unit}"))
            .with_context(|| format!("{unit} cannot be masked"))?;
    }
    fs::write(MACHINE_ID, format!("{:032x}\n", 1))
        .with_context(|| format!("{MACHINE_ID} cannot be written"))?;
    say(format_args!("PID 1 is {} from now on", argv.join(" ")));
    let words = argv.iter().map(|word| CString::new(word.as_str())).collect::<Result<Vec<_>, _>>()?;
    let program = words.first().context("a command needs a program")?;
    execv(program, &words).with_context(|| format!("{} cannot be run", argv.join(" ")))
}
