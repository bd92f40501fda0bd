//! Crates linked into the binary: the daemon's and the kernel side's, as cargo resolves them.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result};
use serde_json::Value;

use crate::process;
use crate::workspace::{STATIC_TARGET, Workspace};

/// Roots of the search: the process, and the programs it loads.
const ROOTS: [&str; 2] = ["netqueue-daemon", "netqueue-ebpf"];

/// One crate in one version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Part {
    pub(super) name: String,
    pub(super) version: String,
    /// An SPDX expression.
    pub(super) licence: String,
    /// SHA-256 of the crate in the registry; `None` for a crate of this workspace.
    pub(super) checksum: Option<String>,
    /// Folder of its source.
    pub(super) folder: PathBuf,
}

impl Part {
    /// Returns whether it came from a registry.
    pub(super) const fn is_foreign(&self) -> bool {
        self.checksum.is_some()
    }

    /// Returns its package URL.
    pub(super) fn purl(&self) -> String {
        format!("pkg:cargo/{}@{}", self.name, self.version)
    }
}

/// Lists all parts, by name and version.
pub(super) fn linked_in(workspace: &Workspace) -> Result<Vec<Part>> {
    let mut cargo = process::cargo(workspace);
    cargo.args(["metadata", "--format-version", "1", "--locked", "--filter-platform", STATIC_TARGET]);
    let metadata: Value =
        serde_json::from_str(&process::output(&mut cargo)?).context("cargo's metadata is no JSON")?;
    let checksums = checksums(&fs::read_to_string(workspace.root().join("Cargo.lock"))?)?;
    let wanted = reached(&metadata);
    let packages = metadata["packages"].as_array().context("cargo's metadata has no packages")?;
    let mut parts = Vec::new();
    for package in packages.iter().filter(|package| wanted.contains(&text(&package["id"]))) {
        let (name, version) = (text(&package["name"]), text(&package["version"]));
        let manifest = PathBuf::from(text(&package["manifest_path"]));
        let licence = package["license"].as_str();
        let licence = licence.with_context(|| format!("{name} {version} does not say its licence"))?;
        parts.push(Part {
            checksum: checksums.get(&(name.clone(), version.clone())).cloned(),
            folder: manifest.parent().context("a manifest lies in a folder")?.to_owned(),
            // Older crates separate alternatives by a slash.
            licence: licence.replace('/', " OR ").replace("  ", " "),
            name,
            version,
        });
    }
    parts.sort_by(|left, right| (&left.name, &left.version).cmp(&(&right.name, &right.version)));
    Ok(parts)
}

/// Returns the ids of the roots, and of all packages that they need to run.
fn reached(metadata: &Value) -> BTreeSet<String> {
    let nodes = metadata["resolve"]["nodes"].as_array().cloned().unwrap_or_default();
    let by_id: BTreeMap<String, &Value> = nodes.iter().map(|node| (text(&node["id"]), node)).collect();
    let is_root = |id: &String| ROOTS.iter().any(|root| id.contains(&format!("/{root}#")));
    let mut open: Vec<String> = by_id.keys().filter(|id| is_root(id)).cloned().collect();
    let mut reached = BTreeSet::new();
    while let Some(id) = open.pop() {
        let Some(node) = by_id.get(&id).filter(|_| reached.insert(id.clone())) else { continue };
        for dependency in node["deps"].as_array().into_iter().flatten() {
            // Without a kind it is an ordinary one, neither for tests nor for build scripts.
            let kinds = dependency["dep_kinds"].as_array();
            if kinds.is_some_and(|kinds| kinds.iter().any(|kind| kind["kind"].is_null())) {
                open.push(text(&dependency["pkg"]));
            }
        }
    }
    reached
}

fn checksums(lock: &str) -> Result<BTreeMap<(String, String), String>> {
    let lock: toml::Table = lock.parse().context("Cargo.lock cannot be understood")?;
    let packages =
        lock.get("package").and_then(toml::Value::as_array).context("Cargo.lock has no packages")?;
    let field = |package: &toml::Value, name: &str| package.get(name)?.as_str().map(str::to_owned);
    let known = packages.iter().filter_map(|package| {
        Some(((field(package, "name")?, field(package, "version")?), field(package, "checksum")?))
    });
    Ok(known.collect())
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_only_tests_and_build_scripts_need_is_not_linked_in() {
        let metadata = serde_json::json!({"resolve": {"nodes": [
            {"id": "path+file:///x/netqueue-daemon#0.1.0", "deps": [
                {"pkg": "run", "dep_kinds": [{"kind": null}]},
                {"pkg": "test", "dep_kinds": [{"kind": "dev"}]},
                {"pkg": "both", "dep_kinds": [{"kind": "build"}, {"kind": null}]}]},
            {"id": "run", "deps": [{"pkg": "deep", "dep_kinds": [{"kind": null}]}]},
            {"id": "both", "deps": []}, {"id": "test", "deps": []}, {"id": "deep", "deps": []},
        ]}});
        let reached: Vec<_> = reached(&metadata).into_iter().collect();
        assert_eq!(reached, ["both", "deep", "path+file:///x/netqueue-daemon#0.1.0", "run"]);
    }

    #[test]
    fn a_lock_file_tells_checksums_of_foreign_crates_only() {
        let lock = "[[package]]\nname = \"a\"\nversion = \"1.0.0\"\nchecksum = \"ff\"\n[[package]]\nname = \"own\"\nversion = \"0.1.0\"\n";
        let sums = checksums(lock).unwrap();
        assert_eq!(sums.len(), 1);
        assert_eq!(sums[&("a".to_owned(), "1.0.0".to_owned())], "ff");
    }
}
