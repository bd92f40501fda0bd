//! Rules for the manifests.

use toml::{Table, Value};

use super::tree::Tree;

const CONTRACT: &str = "netqueue-common/Cargo.toml";
const CONTRACT_CODE: &str = "netqueue-common/src/lib.rs";

/// Checks that netqueue-common is no_std, and needs only zerocopy, and aya where requested.
pub(crate) fn contract_is_bare(tree: &Tree) -> Vec<String> {
    let mut complaints = Vec::new();
    if !tree.text(CONTRACT_CODE).is_some_and(|text| text.contains("#![no_std]")) {
        complaints.push(format!("{CONTRACT_CODE} is not #![no_std]"));
    }
    let Some(manifest) = table(tree, CONTRACT) else {
        complaints.push(format!("{CONTRACT} is missing or not TOML"));
        return complaints;
    };
    let none = Table::new();
    let dependencies = manifest.get("dependencies").and_then(Value::as_table).unwrap_or(&none);
    for (name, what) in dependencies {
        let optional = what.get("optional").and_then(Value::as_bool).unwrap_or(false);
        if name != "zerocopy" && !(name == "aya" && optional) {
            complaints.push(format!("{CONTRACT}: {name}: only zerocopy, and aya as an option, may be there"));
        }
    }
    complaints
}

/// Dependencies that a crate may have at most.
const BARE: [(&str, &[&str]); 2] = [
    ("netqueue-daemon/domain/Cargo.toml", &["serde"]),
    ("netqueue-daemon/api/Cargo.toml", &["serde", "utoipa"]),
];

/// Crates of this workspace that a crate may need; the binary's crate may need all of them.
const OWN: [(&str, &[&str]); 3] = [
    ("netqueue-daemon/kernel/Cargo.toml", &["netqueue-common", "netqueue-domain"]),
    ("netqueue-daemon/cli/Cargo.toml", &["netqueue-api", "netqueue-domain"]),
    (
        "netqueue-daemon/lab/Cargo.toml",
        &["netqueue-api", "netqueue-cli", "netqueue-domain", "netqueue-kernel"],
    ),
];

/// Crates that form the kernel side's interface.
const KERNEL_SIDE: [&str; 5] = ["aya", "aya-log", "aya-obj", "aya-ebpf", "netqueue-common"];
/// Manifests of the only crates that may depend on [`KERNEL_SIDE`].
const KERNEL_CRATES: [&str; 3] = [CONTRACT, "netqueue-ebpf/Cargo.toml", "netqueue-daemon/kernel/Cargo.toml"];

/// Checks that a crate within a wall has no dependency beyond it; tests and benchmarks do not count.
pub(crate) fn crates_need_what_they_may(tree: &Tree) -> Vec<String> {
    let mut complaints = Vec::new();
    for (path, most) in BARE {
        let Some(names) = dependencies(tree, path) else {
            complaints.push(format!("{path} is missing or not TOML"));
            continue;
        };
        let beyond = names.into_iter().filter(|name| !most.contains(&name.as_str()));
        complaints
            .extend(beyond.map(|name| format!("{path}: {name}: only {} may be there", most.join(", "))));
    }
    for (path, most) in OWN {
        let own = dependencies(tree, path).unwrap_or_default().into_iter();
        let beyond = own.filter(|name| name.starts_with("netqueue-") && !most.contains(&name.as_str()));
        complaints.extend(
            beyond.map(|name| format!("{path}: {name}: of this workspace it may need {}", most.join(", "))),
        );
    }
    let others = tree.paths().filter(|path| path.ends_with("Cargo.toml") && !KERNEL_CRATES.contains(path));
    for path in others {
        let named = dependencies(tree, path).unwrap_or_default();
        let beyond = named.into_iter().filter(|name| KERNEL_SIDE.contains(&name.as_str()));
        complaints.extend(beyond.map(|name| {
            format!("{path}: {name}: only netqueue-kernel may know it; others get the domain's types")
        }));
    }
    complaints
}

/// Returns the names of a crate's dependencies; `None` where there is no such manifest.
fn dependencies(tree: &Tree, path: &str) -> Option<Vec<String>> {
    let manifest = table(tree, path)?;
    let named = manifest.get("dependencies").and_then(Value::as_table);
    Some(named.into_iter().flat_map(|table| table.keys().cloned()).collect())
}

/// Checks that rust-toolchain.toml and the workspace's `rust-version` name the same Rust.
pub(crate) fn versions_agree(tree: &Tree) -> Vec<String> {
    let channel = table(tree, "rust-toolchain.toml")
        .and_then(|table| Some(table.get("toolchain")?.get("channel")?.as_str()?.to_owned()));
    let minimum = table(tree, "Cargo.toml").and_then(|table| {
        Some(table.get("workspace")?.get("package")?.get("rust-version")?.as_str()?.to_owned())
    });
    match (channel, minimum) {
        (Some(channel), Some(minimum)) if same_release(&channel, &minimum) => Vec::new(),
        (channel, minimum) => vec![format!(
            "rust-toolchain.toml says {}, Cargo.toml's rust-version says {}: they must name one release",
            channel.as_deref().unwrap_or("nothing"),
            minimum.as_deref().unwrap_or("nothing")
        )],
    }
}

/// Returns whether two versions name the same release, as 1.95.0 and 1.95 do.
fn same_release(channel: &str, minimum: &str) -> bool {
    channel.strip_prefix(minimum).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}

fn table(tree: &Tree, path: &str) -> Option<Table> {
    tree.text(path)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn contract(code: &str, dependencies: &str) -> Vec<String> {
        let manifest = format!("[dependencies]\n{dependencies}\n");
        contract_is_bare(&Tree::of(&[(CONTRACT, &manifest), (CONTRACT_CODE, code)]))
    }

    #[test]
    fn the_contract_stays_bare() {
        let fine = "zerocopy.workspace = true\naya = { workspace = true, optional = true }";
        assert!(contract("#![no_std]", fine).is_empty());
        assert_eq!(contract("#![no_std]", "aya.workspace = true").len(), 1);
        assert_eq!(contract("", "serde = \"1\"").len(), 2);
    }

    #[test]
    fn a_dependency_beyond_a_wall_is_found() {
        let complaints = |path: &str, name: &str| {
            let manifest =
                format!("[dependencies]\n{name}.workspace = true\n[dev-dependencies]\naya = \"1\"\n");
            let bare = BARE.map(|(path, _)| (path, "[dependencies]\nserde = \"1\"\n"));
            // A later file replaces an earlier one.
            let tree = Tree::of(&[bare[0], bare[1], (path, &manifest)]);
            crates_need_what_they_may(&tree).len()
        };
        assert_eq!(complaints("netqueue-daemon/domain/Cargo.toml", "tokio"), 1);
        assert_eq!(complaints("netqueue-daemon/domain/Cargo.toml", "serde"), 0);
        assert_eq!(complaints("netqueue-daemon/Cargo.toml", "aya"), 1);
        assert_eq!(complaints("netqueue-daemon/cli/Cargo.toml", "netqueue-daemon"), 1);
        assert_eq!(complaints("netqueue-daemon/cli/Cargo.toml", "netqueue-api"), 0);
        assert_eq!(complaints("netqueue-daemon/Cargo.toml", "netqueue-kernel"), 0);
        assert_eq!(complaints("netqueue-daemon/kernel/Cargo.toml", "aya"), 0);
    }

    fn versions(channel: &str, minimum: &str) -> Vec<String> {
        let toolchain = format!("[toolchain]\nchannel = \"{channel}\"\n");
        let workspace = format!("[workspace.package]\nrust-version = \"{minimum}\"\n");
        versions_agree(&Tree::of(&[("rust-toolchain.toml", &toolchain), ("Cargo.toml", &workspace)]))
    }

    #[test]
    fn one_rust_version() {
        assert!(versions("1.95.0", "1.95").is_empty());
        assert_eq!(versions("1.96.0", "1.95").len(), 1);
        assert_eq!(versions("1.950.0", "1.95").len(), 1);
    }
}
