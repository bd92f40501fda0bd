//! Checks and tests the shipped Prometheus rules with Prometheus' own tool.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use super::tally::Tally;
use crate::process;
use crate::setup::programs::PROMTOOL;
use crate::workspace::Workspace;

/// Makes one check for each rule file, configuration and test file below deploy/prometheus.
pub(crate) fn check(workspace: &Workspace) -> Result<Tally> {
    let promtool = PROMTOOL.ensure(workspace)?;
    let folder = workspace.root().join("deploy/prometheus");
    let mut total = Tally::default();
    let mut run = |words: &[&str], file: &Path| {
        let done = process::output(Command::new(&promtool).args(words).arg(file));
        match &done {
            Ok(_) => println!("ok      {} {}", words.join(" "), workspace.show(file)),
            Err(error) => println!("FAILED  {error:#}"),
        }
        total.add(Tally::of(done.is_ok()));
    };
    for file in files(&folder, ".rules.yml")? {
        run(&["check", "rules", "--lint=all", "--lint-fatal"], &file);
    }
    run(&["check", "config", "--lint=all"], &folder.join("scrape.yml"));
    for file in files(&folder.join("tests"), ".test.yml")? {
        run(&["test", "rules"], &file);
    }
    Ok(total)
}

/// Lists the folder's files with that ending, in order.
///
/// None at all is an error: a check whose files are gone would pass.
fn files(folder: &Path, ending: &str) -> Result<Vec<PathBuf>> {
    let entries = fs::read_dir(folder).with_context(|| format!("{} cannot be read", folder.display()))?;
    let mut files = entries.map(|entry| Ok(entry?.path())).collect::<Result<Vec<_>>>()?;
    files.retain(|file| file.to_string_lossy().ends_with(ending));
    files.sort();
    anyhow::ensure!(!files.is_empty(), "{} holds no *{ending}", folder.display());
    Ok(files)
}
