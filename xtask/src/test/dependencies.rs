//! Checks the crates that the workspace needs: licences, origins, yanked versions, advisories, use.
//!
//! deny.toml says which ones may be there.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::{Map, json};
use toml::{Table, Value};

use super::tally::Tally;
use crate::debian::empty_dir;
use crate::process;
use crate::setup::python::CARGO_TOOLS;
use crate::workspace::Workspace;

/// Checks of cargo-deny that need nothing but the manifests and the crates themselves.
const LOCAL: [&str; 3] = ["licenses", "bans", "sources"];

/// A clone of RustSec's database takes seconds, or for ever behind a firewall that drops packets.
const CLONE_LIMIT: Duration = Duration::from_secs(60);

/// Makes one check for each question; says so where the database of advisories is out of reach.
pub(crate) fn check(workspace: &Workspace) -> Result<Tally> {
    let python = CARGO_TOOLS.ensure(workspace)?;
    let (deny, shear) = (python.with_file_name("cargo-deny"), python.with_file_name("cargo-shear"));
    let mut total = Tally::default();
    let mut count = |what: &str, done: Result<()>| {
        match &done {
            Ok(()) => println!("ok      {what}"),
            Err(error) => println!("FAILED  {what}: {error:#}"),
        }
        total.add(Tally::of(done.is_ok()));
    };
    for what in LOCAL {
        count(what, process::run(&mut deny_check(workspace, &deny, what)));
    }
    let mut unused = tool(workspace, &shear);
    count("no dependency is unused", process::run(unused.args(["--locked", "--deny-warnings"])));
    count("no version is yanked", none_yanked(workspace));
    // cargo-deny would fail alike for a database that cannot be fetched and for an advisory.
    let mut fetch = tool(workspace, &deny);
    match process::bounded(fetch.args(["fetch", "db"]).env("GIT_TERMINAL_PROMPT", "0"), CLONE_LIMIT) {
        Ok(()) => count("advisories", process::run(&mut deny_check(workspace, &deny, "advisories"))),
        Err(error) => {
            println!("NOT CHECKED  advisories: {}", last_line(&format!("{error:#}")));
            total.remarks = ", advisories not checked: their database is out of reach".to_owned();
        }
    }
    Ok(total)
}

/// Builds a cargo-deny command that shows errors in full, and of anything else the number.
fn deny_check(workspace: &Workspace, deny: &Path, what: &str) -> Command {
    let mut command = tool(workspace, deny);
    command.args(["--locked", "--log-level", "error", "check", "--show-stats", what]);
    command
}

fn tool(workspace: &Workspace, program: &Path) -> Command {
    let mut command = Command::new(program);
    command.current_dir(workspace.root());
    command
}

/// Resolves the locked versions without their lock file: cargo then refuses those that are yanked.
fn none_yanked(workspace: &Workspace) -> Result<()> {
    let lock =
        fs::read_to_string(workspace.root().join("Cargo.lock")).context("Cargo.lock cannot be read")?;
    let folder = workspace.target("yanked");
    empty_dir(&folder)?;
    let put = |name: &str, text: &str| {
        let file = folder.join(name);
        fs::write(&file, text).with_context(|| format!("{} cannot be written", file.display()))
    };
    put("Cargo.toml", &pinned(&lock)?)?;
    put("lib.rs", "")?;
    let mut cargo = process::cargo(workspace);
    process::output(cargo.current_dir(&folder).args(["generate-lockfile", "--quiet"])).map(drop)
}

/// Writes the manifest of a crate that needs exactly the registry's crates of this lock file.
fn pinned(lock: &str) -> Result<String> {
    let lock: Table = lock.parse().context("Cargo.lock cannot be understood")?;
    let packages = lock.get("package").and_then(Value::as_array).context("Cargo.lock has no packages")?;
    let mut pins = Map::new();
    for package in packages {
        let field = |name: &str| package.get(name).and_then(Value::as_str);
        if !field("source").is_some_and(|source| source.starts_with("registry+")) {
            continue;
        }
        let name = field("name").context("a package of Cargo.lock has no name")?;
        let version = field("version").with_context(|| format!("{name} of Cargo.lock has no version"))?;
        // Numbers for names: two versions of a crate may be there.
        let pin = json!({"package": name, "version": format!("={version}"), "default-features": false});
        pins.insert(format!("pin-{}", pins.len()), pin);
    }
    let manifest = json!({
        "package": {"name": "pins", "version": "0.0.0", "edition": "2024"},
        "lib": {"path": "lib.rs"},
        // It is none of netqueue's workspace.
        "workspace": {},
        "dependencies": pins,
    });
    toml::to_string(&manifest).context("the pins cannot be written as TOML")
}

/// Returns the line of a refusal that names its cause: git and cargo end with it.
fn last_line(reason: &str) -> &str {
    reason.lines().map(str::trim).rfind(|line| !line.is_empty()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_locked_version_of_the_registry_is_pinned_and_no_other() {
        let lock = r#"
            [[package]]
            name = "own"
            version = "0.1.0"
            [[package]]
            name = "mio"
            version = "1.0.4"
            source = "registry+https://github.com/rust-lang/crates.io-index"
            [[package]]
            name = "mio"
            version = "0.8.11"
            source = "registry+https://github.com/rust-lang/crates.io-index"
            [[package]]
            name = "forked"
            version = "1.0.0"
            source = "git+https://example.org/forked#ff"
        "#;
        let manifest: Table = pinned(lock).unwrap().parse().unwrap();
        let pins = manifest["dependencies"].as_table().unwrap().values();
        let pins: Vec<_> = pins.map(|pin| (pin["package"].as_str(), pin["version"].as_str())).collect();
        assert_eq!(pins, [(Some("mio"), Some("=1.0.4")), (Some("mio"), Some("=0.8.11"))]);
        assert!(manifest.contains_key("workspace"));
        assert!(pinned("version = 4").is_err());
    }

    #[test]
    fn a_refusal_is_reported_in_one_line() {
        let reason = "`cargo-deny fetch db` failed:\nCloning into 'db'...\nfatal: no such host\n\n";
        assert_eq!(last_line(reason), "fatal: no such host");
        let hung = "`cargo-deny fetch db` was still running after 60 s";
        assert_eq!(last_line(hung), hung);
    }
}
