//! The Debian package.

use anyhow::{Context, Result};

use super::archive::Archive;
use super::tree::{Kind, Tree};
use super::{DESCRIPTION, NAME, Release, SUMMARY};

/// Scripts that dpkg runs, each with its file name in the package.
const SCRIPTS: [(&str, &str); 3] = [
    ("postinst", include_str!("scripts/postinst")),
    ("prerm", include_str!("scripts/prerm")),
    ("postrm", include_str!("scripts/postrm")),
];

/// Builds the package and returns its bytes.
pub(super) fn write(tree: &Tree, release: &Release) -> Result<Vec<u8>> {
    let mut control = Archive::new(release.date);
    control.file("control", 0o644, description(tree, release).as_bytes())?;
    let settings = tree.entries().iter().filter(|entry| entry.kind == Kind::Setting);
    let settings: String = settings.map(|entry| format!("/{}\n", entry.path)).collect();
    control.file("conffiles", 0o644, settings.as_bytes())?;
    control.file("md5sums", 0o644, sums(tree).as_bytes())?;
    for (name, text) in SCRIPTS {
        control.file(name, 0o755, text.as_bytes())?;
    }
    let parts = [
        ("debian-binary", b"2.0\n".to_vec()),
        ("control.tar.gz", control.compressed()?),
        ("data.tar.gz", Archive::new(release.date).tree(tree)?.compressed()?),
    ];
    let mut package = ar::Builder::new(Vec::new());
    for (name, bytes) in parts {
        let size = u64::try_from(bytes.len())?;
        let mut header = ar::Header::new(name.into(), size);
        header.set_mode(0o100_644);
        header.set_mtime(release.date.into());
        package.append(&header, bytes.as_slice()).with_context(|| format!("{name} cannot be packed"))?;
    }
    package.into_inner().context("the package cannot be closed")
}

fn description(tree: &Tree, release: &Release) -> String {
    let bytes: usize = tree.entries().iter().map(|entry| entry.bytes.len()).sum();
    let Release { version, number, .. } = release;
    let long = wrapped(DESCRIPTION);
    // The binary is linked statically and depends on nothing; the scripts need only essential packages.
    format!(
        "Package: {NAME}\nVersion: {version}-{number}\nArchitecture: amd64\nMaintainer: the netqueue authors <netqueue@localhost>\n\
         Installed-Size: {}\nSection: net\nPriority: optional\nDescription: {SUMMARY}\n{long}",
        bytes.div_ceil(1024)
    )
}

/// Wraps a text as the control file requires.
fn wrapped(text: &str) -> String {
    let mut lines = vec![String::new()];
    for word in text.split_whitespace() {
        if lines.last().is_some_and(|line| line.len() + word.len() > 78) {
            lines.push(String::new());
        }
        if let Some(line) = lines.last_mut() {
            line.push(' ');
            line.push_str(word);
        }
    }
    lines.join("\n") + "\n"
}

/// Lists the checksums for `dpkg --verify`, except those of settings, of which dpkg keeps its own.
fn sums(tree: &Tree) -> String {
    use md5::{Digest as _, Md5};
    let files = tree.entries().iter().filter(|entry| entry.kind != Kind::Setting);
    files
        .map(|entry| {
            let sum: String = Md5::digest(&entry.bytes).iter().map(|byte| format!("{byte:02x}")).collect();
            format!("{sum}  {}\n", entry.path)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_description_keeps_its_lines_short_and_indented() {
        let text = wrapped(DESCRIPTION);
        assert!(text.lines().count() > 1);
        assert!(text.lines().all(|line| line.starts_with(' ') && line.len() <= 80), "{text}");
    }

    #[test]
    fn every_script_ends_at_its_first_failure() {
        for (name, text) in SCRIPTS {
            assert!(text.starts_with("#!/bin/sh\n") && text.contains("\nset -e\n"), "{name}");
        }
    }
}
