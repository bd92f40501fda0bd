//! The container image in the OCI layout, written without an engine.
//!
//! It has one layer, with the binary, its settings and terms, and runs as a user of its own. The binary
//! carries the capabilities it needs as *permitted* ones: it gets those of them that its container was
//! granted, and starts also where none was granted.

use anyhow::Result;
use serde_json::{Value, json};

use super::archive::Archive;
use super::tree::{Kind, Tree};
use super::{LICENCE, NAME, Release, SUMMARY, sha256};

/// User and group without a name on common distributions.
const USER: &str = "65532:65532";
/// Capabilities that the binary may use, numbered as in linux/capability.h.
///
/// DAC_READ_SEARCH, SYS_PTRACE, SYS_ADMIN, SYSLOG, PERFMON, BPF.
const CAPABILITIES: [u32; 6] = [2, 19, 21, 34, 38, 39];

/// Builds the image as one archive for `skopeo copy oci-archive:FILE ...` and `podman load`.
pub(super) fn write(tree: &Tree, release: &Release) -> Result<Vec<u8>> {
    let layer = layer(tree, release)?;
    let mut blobs = Vec::new();
    let mut keep = |bytes: Vec<u8>, kind: &str| {
        let sum = sha256(&bytes);
        let described = json!({"mediaType": kind, "digest": format!("sha256:{sum}"), "size": bytes.len()});
        blobs.push((sum, bytes));
        described
    };
    let content = format!("sha256:{}", sha256(&layer));
    let layer = keep(layer, "application/vnd.oci.image.layer.v1.tar");
    let config =
        keep(serde_json::to_vec(&config(release, &content))?, "application/vnd.oci.image.config.v1+json");
    let manifest = json!({
        "schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": config, "layers": [layer], "annotations": labels(release),
    });
    let mut manifest = keep(serde_json::to_vec(&manifest)?, "application/vnd.oci.image.manifest.v1+json");
    manifest["platform"] = json!({"architecture": "amd64", "os": "linux"});
    manifest["annotations"] = json!({"org.opencontainers.image.ref.name": release.version});
    let index = json!({
        "schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json", "manifests": [manifest],
    });
    let mut image = Archive::new(release.date);
    image.file("oci-layout", 0o644, br#"{"imageLayoutVersion":"1.0.0"}"#)?;
    image.file("index.json", 0o644, &serde_json::to_vec(&index)?)?;
    for folder in ["blobs", "blobs/sha256"] {
        image.folder(folder, 0o755)?;
    }
    for (sum, bytes) in blobs {
        image.file(&format!("blobs/sha256/{sum}"), 0o644, &bytes)?;
    }
    image.plain()
}

/// Builds the layer: the binary, its settings, its terms.
fn layer(tree: &Tree, release: &Release) -> Result<Vec<u8>> {
    let mut layer = Archive::new(release.date);
    for (folder, mode) in [
        ("etc", 0o755),
        ("etc/netqueue", 0o755),
        ("licences", 0o755),
        ("tmp", 0o1777),
        ("usr", 0o755),
        ("usr/bin", 0o755),
    ] {
        layer.folder(folder, mode)?;
    }
    for entry in tree.entries() {
        match entry.kind {
            Kind::Program => {
                layer.file_with(
                    &entry.path,
                    entry.mode(),
                    &entry.bytes,
                    ("security.capability", &permitted()),
                )?;
            }
            Kind::Setting => layer.file(&entry.path, entry.mode(), &entry.bytes)?,
            Kind::Manual if entry.path.ends_with("/licences.txt") => {
                layer.file("licences/licences.txt", entry.mode(), &entry.bytes)?;
            }
            Kind::Manual | Kind::Other => {}
        }
    }
    layer.plain()
}

fn config(release: &Release, layer: &str) -> Value {
    json!({
        "architecture": "amd64", "os": "linux",
        "config": {
            "User": USER, "Entrypoint": ["/usr/bin/netqueue"], "Cmd": ["daemon"], "WorkingDir": "/",
            "ExposedPorts": {"10124/tcp": {}}, "Labels": labels(release),
        },
        "rootfs": {"type": "layers", "diff_ids": [layer]},
    })
}

fn labels(release: &Release) -> Value {
    json!({
        "org.opencontainers.image.title": NAME,
        "org.opencontainers.image.description": SUMMARY,
        "org.opencontainers.image.version": release.version,
        "org.opencontainers.image.licenses": LICENCE,
    })
}

/// Builds the file capabilities (linux/capability.h, VFS_CAP_REVISION_2) without the effective flag.
///
/// A program with that flag does not start where one of them is out of bounds.
fn permitted() -> [u8; 20] {
    const REVISION_2: u32 = 0x0200_0000;
    let all: u64 = CAPABILITIES.iter().map(|number| 1 << number).sum();
    let [low, high] =
        [all & u64::from(u32::MAX), all >> 32].map(|half| u32::try_from(half).unwrap_or_default());
    let mut bytes = [0; 20];
    for (to, word) in bytes.chunks_exact_mut(4).zip([REVISION_2, low, 0, high, 0]) {
        to.copy_from_slice(&word.to_le_bytes());
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_binary_may_take_up_what_it_was_granted_and_starts_without() {
        // `setcap cap_bpf,cap_perfmon,cap_syslog,cap_sys_admin,cap_sys_ptrace,cap_dac_read_search+p FILE`
        // writes the same.
        assert_eq!(permitted(), [0, 0, 0, 2, 4, 0, 0x28, 0, 0, 0, 0, 0, 0xc4, 0, 0, 0, 0, 0, 0, 0]);
    }
}
