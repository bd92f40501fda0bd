//! Finds a Chromium, or installs the machine's own suite's.

use std::path::PathBuf;

use anyhow::{Context, Result};

use super::apt;
use crate::process::{self, say};

/// Names of the browser's program; the first is Debian's.
const NAMES: [&str; 4] = ["chromium", "chromium-browser", "google-chrome", "chrome"];

/// Returns the path of the browser's program, installed if necessary.
pub(crate) fn ensure() -> Result<PathBuf> {
    let found = || NAMES.iter().find_map(|name| process::on_path(name));
    if let Some(path) = found() {
        return Ok(path);
    }
    say("Chromium", "installing chromium with apt");
    let install = ["-q", "install", "-y", "--no-install-recommends", "chromium"];
    if process::output(&mut apt::command("chromium", &install)?).is_err() {
        process::output(&mut apt::command("chromium", &["-q", "update"])?)
            .context("apt's package index cannot be fetched, and Chromium is not in the one there is")?;
        process::output(&mut apt::command("chromium", &install)?).context("Chromium cannot be installed")?;
    }
    found().context("chromium is installed, yet not on PATH")
}
