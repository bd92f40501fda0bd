//! Tests the packages: two builds give the same bytes, and the .deb works from installation to purge.
//!
//! The .deb is tested in a Debian guest with systemd as its PID 1.

mod reproducible;

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result};
use guest_init::job::Step;

use super::tally::{self, Tally};
use crate::dist::{self, Release};
use crate::vm::{self, Boot, Limits, Machine, Outcome, Payload, kernels, userland};
use crate::workspace::Workspace;

pub(super) use reproducible::check as reproducible;

/// Debian's own kernel for the suite of the guest.
const KERNEL: &str = "6.12";
/// Packages of the guest: systemd, dpkg, and what their scripts and ours call.
const DEBIAN: [&str; 18] = [
    "base-files",
    "base-passwd",
    "bash",
    "coreutils",
    "dash",
    "diffutils",
    "dpkg",
    "findutils",
    "grep",
    "hostname",
    "init-system-helpers",
    "libc-bin",
    "perl-base",
    "procps",
    "sed",
    "systemd-sysv",
    "tar",
    "util-linux",
];
const SCRIPT: &str = "xtask/src/test/package/guest.sh";
const DEADLINE: Duration = Duration::from_secs(420);

/// Counts the checks of `guest.sh`.
pub(super) fn in_debian(workspace: &Workspace, payload: &Payload) -> Result<Tally> {
    let guest = Payload {
        init: payload.init.clone(),
        netqueue: payload.netqueue.clone(),
        userland: Some(userland::ensure(workspace, &DEBIAN)?),
        files: vec![
            ("proof.sh", workspace.root().join(SCRIPT)),
            ("packages-1.deb", package(workspace, payload, 1)?),
            ("packages-2.deb", package(workspace, payload, 2)?),
        ],
    };
    let boot = Boot {
        kernel: kernels::ensure(workspace, kernels::row(KERNEL)?)?,
        machine: Machine {
            cpus: 2,
            possible_cpus: None,
            memory_mb: 2048,
            count_instructions: false,
            forward: None,
            append: Vec::new(),
        },
        limits: Limits { init: vm::INIT_LIMIT, whole: DEADLINE },
        job: vec![
            Step::HandOver { argv: vec!["/sbin/init".to_owned()] },
            Step::Run { argv: vec!["/bin/bash".to_owned(), "/proof.sh".to_owned()] },
        ],
        verbose: false,
    };
    let report = boot.until_verdict(workspace, &guest)?;
    println!("{report}");
    let counted = report.output.last().and_then(|line| tally::read_summary(line)).unwrap_or_default();
    let something = counted.passed > 0;
    Ok(counted.or_failure(report.outcome == Outcome::Passed && something))
}

/// Makes a .deb of that release with the very binary the guests run.
fn package(workspace: &Workspace, payload: &Payload, number: u32) -> Result<PathBuf> {
    let folder = workspace.target("package");
    fs::create_dir_all(&folder).with_context(|| format!("{} cannot be made", folder.display()))?;
    let deb = folder.join(format!("{number}.deb"));
    dist::make_deb(workspace, &payload.netqueue, &Release::of(workspace, number)?, &deb)?;
    Ok(deb)
}
