//! Builds the `netqueue` binary, and static ones for guests and containers.

use std::env;
use std::path::PathBuf;

use anyhow::Result;

use crate::process;
use crate::setup;
use crate::workspace::{STATIC_TARGET, Workspace};

/// Way to build a binary.
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
    /// Binary for guests.
    pub(crate) const GUEST: Self = Self { fully_static: true, debug: false };
    /// Binary for packages: the same as for guests.
    pub(crate) const HANDED_OUT: Self = Self::GUEST;
    /// Binary for this host.
    pub(crate) const HOST: Self = Self { fully_static: false, debug: false };
}

/// Builds the daemon's binary and returns its path.
pub(crate) fn netqueue(workspace: &Workspace, flavour: Flavour) -> Result<PathBuf> {
    setup::ensure_toolchain(workspace)?;
    binary(workspace, "netqueue-daemon", "netqueue", flavour)
}

/// Builds the guests' PID 1 and returns its path.
pub(crate) fn guest_init(workspace: &Workspace) -> Result<PathBuf> {
    binary(workspace, "guest-init", "guest-init", Flavour::GUEST)
}

fn binary(workspace: &Workspace, package: &str, name: &str, flavour: Flavour) -> Result<PathBuf> {
    let mut cargo = process::cargo(workspace);
    cargo.args(["build", "--package", package, "--bin", name]);
    let mut place = workspace.artifacts();
    if flavour.fully_static {
        cargo.args(["--target", STATIC_TARGET]).env("RUSTFLAGS", static_flags(workspace));
        // CARGO_ENCODED_RUSTFLAGS would win over RUSTFLAGS.
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

/// Flags that link everything in and hide this machine's paths.
///
/// One source gives one binary, wherever it is built.
fn static_flags(workspace: &Workspace) -> String {
    let given = env::var("RUSTFLAGS").unwrap_or_default();
    let mut flags = vec![given, "-C target-feature=+crt-static".to_owned()];
    let home = env::var_os("CARGO_HOME").or_else(|| env::home_dir().map(|home| home.join(".cargo").into()));
    if let Some(cargo) = home {
        flags.push(format!("--remap-path-prefix={}=/cargo", cargo.display()));
    }
    flags.push(format!("--remap-path-prefix={}=/netqueue", workspace.root().display()));
    flags.join(" ").trim_start().to_owned()
}
