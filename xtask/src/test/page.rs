//! Tests the web page in a real Chromium over a replay: a click path, its numbers against the API's.

use std::process::Command;

use anyhow::Result;

use super::tally::{self, Tally};
use crate::build::{self, Flavour};
use crate::process;
use crate::setup::chromium;
use crate::setup::python::BROWSER;
use crate::workspace::Workspace;

/// Counts the checks of `click_path.py`. Its screenshots stay below `target/page`.
pub(crate) fn check(workspace: &Workspace) -> Result<Tally> {
    let tests = workspace.root().join("netqueue-daemon/tests");
    let netqueue = build::netqueue(workspace, Flavour { fully_static: false, debug: true })?;
    let mut script = Command::new(BROWSER.ensure(workspace)?);
    script.arg(tests.join("page/click_path.py")).arg(netqueue);
    script.arg(tests.join("recordings/demo-6.12.nqr")).arg(chromium::ensure()?).arg(workspace.target("page"));
    let (status, lines) = process::tee(&mut script)?;
    let counted = lines.last().and_then(|line| tally::read_summary(line)).unwrap_or_default();
    Ok(counted.or_failure(status.success()))
}
