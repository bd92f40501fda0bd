//! Compares two builds of one source, from nothing and in two folders: they must be the same bytes.
//!
//! So must everything made of them.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use super::super::tally::Tally;
use crate::build;
use crate::debian::empty_dir;
use crate::dist::{self, Release};
use crate::process;
use crate::workspace::Workspace;

/// Makes one check for each file that is handed out.
pub(crate) fn check(workspace: &Workspace, first: &Path) -> Result<Tally> {
    let copy = workspace.target("again").join("a-copy-of-the-source");
    copy_source(workspace, &copy)?;
    let elsewhere = Workspace::at(copy);
    let second = build::netqueue(&elsewhere, build::Flavour::HANDED_OUT)?;
    let release = Release::of(workspace, 1)?;
    let made =
        |binary: &Path, folder: &str| dist::make(workspace, binary, &release, &workspace.target(folder));
    let (first, second) = (made(first, "dist")?, made(&second, "again/dist")?);
    let mut tally = Tally::default();
    for ((file, sum), (_, again)) in first.iter().zip(&second) {
        let same = sum == again;
        println!("{}  {}: {sum}", if same { "ok    " } else { "FAILED" }, workspace.show(file));
        if !same {
            println!("        the second build: {again}");
        }
        tally.add(Tally::of(same));
    }
    Ok(tally)
}

/// Copies the source as it is now, every file that git does not ignore, and lends it set-up's tools.
fn copy_source(workspace: &Workspace, copy: &Path) -> Result<()> {
    empty_dir(copy)?;
    let list = ["ls-files", "-z", "--cached", "--others", "--exclude-standard"];
    let files = process::output(Command::new("git").current_dir(workspace.root()).args(list))?;
    for file in files.split('\0').filter(|file| !file.is_empty()).map(PathBuf::from) {
        let (from, to) = (workspace.root().join(&file), copy.join(&file));
        if let Some(folder) = to.parent() {
            fs::create_dir_all(folder).with_context(|| format!("{} cannot be made", folder.display()))?;
        }
        // A file that was removed and not committed yet is not part of the source.
        if from.is_file() {
            fs::copy(&from, &to).with_context(|| format!("{} cannot be copied", from.display()))?;
        }
    }
    let tools = workspace.target("tools");
    if tools.is_dir() {
        fs::create_dir_all(copy.join("target")).context("the copy's target folder cannot be made")?;
        std::os::unix::fs::symlink(&tools, copy.join("target/tools")).context("the tools cannot be lent")?;
    }
    Ok(())
}
