//! Another PID 1 for the guest: systemd takes over, and the rest of the job is done by a service of it.

use std::convert::Infallible;
use std::ffi::CString;
use std::fs;
use std::os::unix::fs::symlink;

use anyhow::{Context, Result};
use guest_init::job::{self, Step};
use nix::unistd::execv;

use crate::console::say;

/// The service, for this boot only. It says on the console what PID 1 would.
const UNITS: &str = "/run/systemd/system";
const SERVICE: &str = "[Unit]\n\
    Description=the rest of the job\n\
    After=multi-user.target\n\
    [Service]\n\
    ExecStart=/init\n\
    StandardOutput=file:/dev/console\n\
    StandardError=file:/dev/console\n";

/// What a machine without a disk, a keyboard and its kernel's other modules has no use for, or would wait for.
const MASKED: [&str; 6] = [
    "getty.target",
    "serial-getty@ttyS0.service",
    "ldconfig.service",
    "proc-sys-fs-binfmt_misc.automount",
    "systemd-firstboot.service",
    "systemd-modules-load.service",
];

/// A machine that has one has been set up.
const MACHINE_ID: &str = "/etc/machine-id";

/// Leaves the rest of the job to a service and becomes the program, which does not come back.
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
