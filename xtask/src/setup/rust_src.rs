//! Puts the standard library's source where `-Z build-std` searches: from rustup, else from Debian.
//!
//! Debian's package has to be of the compiler's own version.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};

use crate::debian::{Suite, empty_dir};
use crate::process::{self, say};
use crate::workspace::Workspace;

const STEP: &str = "standard library source";

/// Suites that carry rust-src in recent versions, the likeliest first.
const SUITES: [&str; 4] = ["trixie-backports", "sid", "forky", "trixie"];

/// rustup answers in seconds, or not at all where its server is out of reach.
const RUSTUP_LIMIT: Duration = Duration::from_secs(120);

/// Makes sure that `library/` is in the compiler's sysroot.
pub(crate) fn ensure(workspace: &Workspace) -> Result<()> {
    let rustc = || {
        let mut command = Command::new(env::var_os("RUSTC").unwrap_or_else(|| "rustc".into()));
        command.current_dir(workspace.root());
        command
    };
    let sysroot = PathBuf::from(process::output(rustc().args(["--print", "sysroot"]))?.trim());
    let version = process::output(rustc().arg("--version"))?;
    let version = version_of(&version)?;
    let library = sysroot.join("lib/rustlib/src/rust/library");
    if library.join("Cargo.lock").is_file() {
        say(STEP, format_args!("already there for rustc {version}"));
        return Ok(());
    }
    match from_rustup(workspace, &library) {
        Ok(()) => say(STEP, format_args!("added by rustup for rustc {version}")),
        Err(reason) => {
            say(STEP, format_args!("rustup cannot add it ({})", gist(&format!("{reason:#}"))));
            let taken = from_debian(workspace, version, &library)?;
            say(STEP, format_args!("taken from Debian's {taken}, placed where rustup would"));
        }
    }
    Ok(())
}

fn from_rustup(workspace: &Workspace, library: &Path) -> Result<()> {
    process::on_path("rustup").context("rustup is not installed")?;
    let mut rustup = Command::new("rustup");
    rustup.current_dir(workspace.root()).args(["component", "add", "rust-src"]);
    process::bounded(&mut rustup, RUSTUP_LIMIT)?;
    if !library.join("Cargo.lock").is_file() {
        bail!("it put nothing at {}", library.display());
    }
    Ok(())
}

/// Unpacks rust-src of exactly this compiler's version and returns its name.
fn from_debian(workspace: &Workspace, version: &str, library: &Path) -> Result<String> {
    let mut refusals = Vec::new();
    for name in SUITES {
        match from_suite(workspace, name, version, library) {
            Ok(taken) => return Ok(taken),
            Err(reason) => refusals.push(format!("{name}: {reason:#}")),
        }
    }
    Err(anyhow!(
        "the source of rustc {version}'s standard library is not to be had from rustup or Debian; \
         `rustup component add rust-src` on a machine that reaches rustup's server is the other way\n{}",
        refusals.join("\n")
    ))
}

fn from_suite(workspace: &Workspace, name: &str, version: &str, library: &Path) -> Result<String> {
    let suite = Suite::open(workspace, name)?;
    let versions = suite.versions(&["rust-src".to_owned()])?;
    let package = versions.iter().find(|package| is_release(&package.version, version));
    let package = package.with_context(|| format!("it has no rust-src {version}"))?;
    let unpacked = workspace.target("rust-src");
    empty_dir(&unpacked)?;
    suite.unpack(&package.name, &package.version, &unpacked)?;
    let source = find_library(&unpacked).context("the package holds no library/Cargo.lock")?;
    place(&source, library)?;
    fs::remove_dir_all(&unpacked).with_context(|| format!("{} cannot be removed", unpacked.display()))?;
    Ok(format!("rust-src {} ({})", package.version, suite.name()))
}

/// Copies beside the final place, then renames: a half-copied source is never found.
fn place(source: &Path, library: &Path) -> Result<()> {
    let parent = library.parent().context("the sysroot has no folder for sources")?;
    let part = parent.join("library.part");
    empty_dir(&part).context("the compiler's sysroot is not writable: run setup as the user who owns it")?;
    process::output(Command::new("cp").arg("-a").arg(source.join(".")).arg(&part))?;
    fs::rename(&part, library).with_context(|| format!("{} cannot be put in place", library.display()))
}

fn find_library(dir: &Path) -> Option<PathBuf> {
    let entries = fs::read_dir(dir).ok()?;
    let mut folders: Vec<PathBuf> =
        entries.filter_map(|entry| Some(entry.ok()?.path())).filter(|path| path.is_dir()).collect();
    folders.retain(|path| !path.is_symlink());
    let here = folders.iter().find(|path| path.ends_with("library") && path.join("Cargo.lock").is_file());
    here.cloned().or_else(|| folders.iter().find_map(|folder| find_library(folder)))
}

/// Returns the line of a long refusal that explains most.
fn gist(reason: &str) -> &str {
    let error = reason.lines().find_map(|line| line.trim().strip_prefix("error: "));
    error.or_else(|| reason.lines().next()).unwrap_or_default().trim_end_matches(':')
}

/// Returns the version in `rustc 1.95.0 (...)`, which is `1.95.0`.
fn version_of(line: &str) -> Result<&str> {
    line.split_whitespace().nth(1).with_context(|| format!("`rustc --version` said {line:?}"))
}

/// Returns whether a Debian version packages exactly this upstream release.
fn is_release(debian: &str, upstream: &str) -> bool {
    debian.strip_prefix(upstream).is_some_and(|rest| rest.starts_with(['+', '-', '~']))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_compilers_own_release_will_do() {
        assert!(is_release("1.95.0+dfsg1-2~bpo13+1", "1.95.0"));
        assert!(!is_release("1.95.01-1", "1.95.0"));
        assert!(!is_release("1.96.1+dfsg1-2", "1.95.0"));
    }

    #[test]
    fn a_refusal_is_reported_by_its_error_line() {
        assert_eq!(
            gist("`rustup` failed:\ninfo: downloading\nerror: no route to host\n"),
            "no route to host"
        );
        assert_eq!(gist("rustup is not installed"), "rustup is not installed");
    }

    #[test]
    fn the_library_is_found_wherever_the_package_puts_it() {
        let dir = tempfile::tempdir().unwrap();
        let library = dir.path().join("usr/src/rustc/library");
        fs::create_dir_all(&library).unwrap();
        assert_eq!(find_library(dir.path()), None);
        fs::write(library.join("Cargo.lock"), "").unwrap();
        assert_eq!(find_library(dir.path()), Some(library));
    }
}
