//! Builds the `netqueue` binary, and static ones for guests and containers.

use std::env;
use std::path::PathBuf;

use anyhow::Result;

use crate::process;
use crate::setup;
use crate::workspace::{STATIC_TARGET, Workspace};

/// How a binary is wanted.
#[derive(Debug, Clone, Copy, clap::Args)]
pub(crate) struct Flavour {
    /// Link everything in: one file that runs in any initramfs or empty container.
    #[arg(long = "static")]
    pub(crate) fully_static: bool,
    /// Build without optimisation, for a quick look.
    #[arg(long)]
    pub(crate) debug: bool,
}

impl Flavour {
    /// What guests run.
    pub(crate) const GUEST: Self = Self { fully_static: true, debug: false };
    /// What this host runs.
    pub(crate) const HOST: Self = Self { fully_static: false, debug: false };
}

/// Builds the daemon's binary and returns where it is.
pub(crate) fn netqueue(workspace: &Workspace, flavour: Flavour) -> Result<PathBuf> {
    setup::ensure_toolchain(workspace)?;
    binary(workspace, "netqueue-daemon", "netqueue", flavour)
}

/// Builds the guests' PID 1 and returns where it is.
pub(crate) fn guest_init(workspace: &Workspace) -> Result<PathBuf> {
    binary(workspace, "guest-init", "guest-init", Flavour::GUEST)
}

fn binary(workspace: &Workspace, package: &str, name: &str, flavour: Flavour) -> Result<PathBuf> {
    let mut cargo = process::cargo(workspace);
    cargo.args(["build", "--package", package, "--bin", name]);
    let mut place = workspace.artifacts();
    if flavour.fully_static {
        cargo.args(["--target", STATIC_TARGET]).env("RUSTFLAGS", static_flags());
        // It would win over RUSTFLAGS.
        cargo.env_remove("CARGO_ENCODED_RUSTFLAGS");
        place.push(STATIC_TARGET);
    }
    if flavour.debug {
        place.push("debug");
    } else {
        cargo.arg("--release");
        place.push("release");
    }
    process::run(&mut cargo)?;
    Ok(place.join(name))
}

fn static_flags() -> String {
    let given = env::var("RUSTFLAGS").unwrap_or_default();
    format!("{given} -C target-feature=+crt-static").trim_start().to_owned()
}
