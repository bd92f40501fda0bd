//! Runs cargo's checks: format, lints, unit tests.

use std::process::Command;

use anyhow::Result;

use super::tally::{self, Tally};
use crate::process;
use crate::workspace::Workspace;

/// Selection of everything but the kernel side, which no host target can build.
const HOST: [&str; 3] = ["--workspace", "--exclude", "netqueue-ebpf"];

pub(crate) fn fmt(workspace: &Workspace) -> Result<Tally> {
    process::run(process::cargo(workspace).args(["fmt", "--all", "--check"]))?;
    Ok(Tally::of(true))
}

pub(crate) fn clippy(workspace: &Workspace) -> Result<Tally> {
    let mut clippy = process::cargo(workspace);
    clippy.arg("clippy").args(HOST).args(["--all-targets", "--locked", "--quiet", "--", "-D", "warnings"]);
    process::run(&mut clippy)?;
    Ok(Tally::of(true))
}

/// Lints the kernel side for its own target, against a core library built on the way.
pub(crate) fn clippy_ebpf(workspace: &Workspace) -> Result<Tally> {
    let mut clippy = process::cargo(workspace);
    clippy.args([
        "clippy",
        "--package",
        "netqueue-ebpf",
        "--target",
        "bpfel-unknown-none",
        "-Z",
        "build-std=core",
    ]);
    let arch = std::env::consts::ARCH;
    clippy.arg("--target-dir").arg(workspace.target("bpf").join(arch)).args(["--locked", "--quiet"]);
    clippy.args(["--", "-D", "warnings"]);
    // `-Z` options on a stable compiler, and the architecture whose registers aya's types describe.
    clippy.env("RUSTC_BOOTSTRAP", "1");
    clippy.env("CARGO_ENCODED_RUSTFLAGS", format!("--cfg=bpf_target_arch=\"{arch}\""));
    process::run(&mut clippy)?;
    Ok(Tally::of(true))
}

/// Runs the unit tests with nextest where it is installed, else with cargo's own test runner.
pub(crate) fn unit_tests(workspace: &Workspace) -> Result<Tally> {
    let mut tests = process::cargo(workspace);
    tests.env("CARGO_TERM_COLOR", "never").env("NO_COLOR", "1");
    let nextest = process::output(Command::new("cargo-nextest").args(["nextest", "--version"])).is_ok();
    if nextest {
        tests.args(["nextest", "run", "--no-fail-fast", "--status-level", "fail"]);
    } else {
        tests.args(["test", "--no-fail-fast"]);
    }
    tests.args(HOST).arg("--locked");
    let (status, lines) = process::tee(&mut tests)?;
    let counted = if nextest { tally::nextest(&lines) } else { tally::cargo_test(&lines) };
    Ok(counted.unwrap_or_default().or_failure(status.success()))
}
