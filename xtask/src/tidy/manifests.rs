//! What the manifests must agree on.

use toml::{Table, Value};

use super::tree::Tree;

const CONTRACT: &str = "netqueue-common/Cargo.toml";
const CONTRACT_CODE: &str = "netqueue-common/src/lib.rs";

/// netqueue-common is no_std and needs zerocopy, and aya only where asked.
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

/// rust-toolchain.toml and the workspace's `rust-version` name the same Rust.
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

/// 1.95.0 and 1.95 are the same release.
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
