//! List of the installed files, their paths and kinds, from which all packages are made.

use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use flate2::{Compression, GzBuilder};

use crate::process;
use crate::workspace::Workspace;

/// Kind of a file, for the package manager.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Program,
    /// A file of the administrator's: an upgrade leaves it as it is.
    Setting,
    Manual,
    Other,
}

/// A file to be installed, owned by root.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    /// Path without the leading slash.
    pub(crate) path: String,
    pub(crate) kind: Kind,
    pub(crate) bytes: Vec<u8>,
}

impl Entry {
    /// Returns its permissions.
    pub(crate) fn mode(&self) -> u32 {
        if self.kind == Kind::Program { 0o755 } else { 0o644 }
    }
}

/// All files to install, in the order of their paths.
#[derive(Debug, Clone)]
pub(crate) struct Tree(Vec<Entry>);

/// Paths of zsh's completions, by distribution: the same file for both.
const ZSH: [&str; 2] =
    ["usr/share/zsh/vendor-completions/_netqueue", "usr/share/zsh/site-functions/_netqueue"];
const DOCUMENTS: &str = "usr/share/doc/netqueue";

/// Files and folders of the repository that become examples below the documents.
const EXAMPLES: [&str; 4] =
    ["deploy/prometheus", "deploy/grafana", "deploy/runbooks", "deploy/systemd/network.conf"];

impl Tree {
    /// Gathers all files; the binary itself writes its manual and completions.
    pub(crate) fn gather(workspace: &Workspace, binary: &Path, bill: &str, licences: &str) -> Result<Self> {
        let root = workspace.root();
        let mut tree = Self(Vec::new());
        tree.add("usr/bin/netqueue", Kind::Program, read(binary)?);
        for unit in ["netqueue.service", "netqueue-counts.service"] {
            let text = read(&root.join("deploy/systemd").join(unit))?;
            tree.add(&format!("usr/lib/systemd/system/{unit}"), Kind::Other, text);
        }
        tree.add(
            "etc/netqueue/netqueue.toml",
            Kind::Setting,
            read(&root.join("deploy/netqueue.example.toml"))?,
        );
        tree.manual(workspace, binary)?;
        let completions = |shell: &str| process::output(Command::new(binary).args(["completions", shell]));
        tree.add("usr/share/bash-completion/completions/netqueue", Kind::Other, completions("bash")?.into());
        tree.add(
            "usr/share/fish/vendor_completions.d/netqueue.fish",
            Kind::Other,
            completions("fish")?.into(),
        );
        for path in ZSH {
            tree.add(path, Kind::Other, completions("zsh")?.into());
        }
        for document in ["README.md", "CHANGELOG.md"] {
            tree.add(&format!("{DOCUMENTS}/{document}"), Kind::Manual, read(&root.join(document))?);
        }
        tree.add(&format!("{DOCUMENTS}/copyright"), Kind::Manual, copyright(root)?.into());
        tree.add(&format!("{DOCUMENTS}/licences.txt"), Kind::Manual, licences.into());
        tree.add(&format!("{DOCUMENTS}/netqueue.cdx.json"), Kind::Manual, bill.into());
        for example in EXAMPLES {
            tree.example(root, Path::new(example))?;
        }
        tree.0.sort_by(|left, right| left.path.cmp(&right.path));
        Ok(tree)
    }

    /// All files.
    pub(crate) fn entries(&self) -> &[Entry] {
        &self.0
    }

    /// Every folder above a file, each after its own parent, without a trailing slash.
    pub(crate) fn folders(&self) -> Vec<String> {
        let above = |entry: &Entry| {
            let path = Path::new(&entry.path).to_owned();
            let names = path.ancestors().skip(1).map(|folder| folder.to_string_lossy().into_owned());
            names.filter(|name| !name.is_empty()).collect::<Vec<_>>()
        };
        let mut folders: Vec<_> = self.0.iter().flat_map(above).collect();
        folders.sort();
        folders.dedup();
        folders
    }

    fn add(&mut self, path: &str, kind: Kind, bytes: Vec<u8>) {
        self.0.push(Entry { path: path.to_owned(), kind, bytes });
    }

    fn manual(&mut self, workspace: &Workspace, binary: &Path) -> Result<()> {
        let folder = workspace.target("man");
        crate::debian::empty_dir(&folder)?;
        process::output(Command::new(binary).args(["man", "--out-dir"]).arg(&folder))?;
        let mut pages = 0;
        for page in fs::read_dir(&folder)? {
            let page = page?;
            let name = page.file_name().to_string_lossy().into_owned();
            self.add(&format!("usr/share/man/man1/{name}.gz"), Kind::Manual, compress(&read(&page.path())?)?);
            pages += 1;
        }
        ensure!(pages > 0, "`netqueue man` wrote no page");
        Ok(())
    }

    /// Adds a file or a folder of the repository to the documents' examples.
    fn example(&mut self, root: &Path, path: &Path) -> Result<()> {
        let full = root.join(path);
        if full.is_dir() {
            for inner in fs::read_dir(&full).with_context(|| format!("{} cannot be read", full.display()))? {
                self.example(root, &path.join(inner?.file_name()))?;
            }
            return Ok(());
        }
        let below = path.strip_prefix("deploy").unwrap_or(path).display().to_string();
        self.add(&format!("{DOCUMENTS}/examples/{below}"), Kind::Manual, read(&full)?);
        Ok(())
    }
}

/// Compresses without a name or a time in the result.
fn compress(bytes: &[u8]) -> Result<Vec<u8>> {
    let mut packed = GzBuilder::new().mtime(0).write(Vec::new(), Compression::best());
    packed.write_all(bytes)?;
    Ok(packed.finish()?)
}

/// Writes the copyright in Debian's machine-readable form.
fn copyright(root: &Path) -> Result<String> {
    let mit = fs::read_to_string(root.join("LICENSE-MIT")).context("LICENSE-MIT cannot be read")?;
    let indented: String = mit
        .lines()
        .map(|line| if line.trim().is_empty() { " .\n".to_owned() } else { format!(" {line}\n") })
        .collect();
    Ok(format!(
        "Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/\n\
         Upstream-Name: netqueue\n\
         Comment: the binary has other works linked in; licences.txt beside this file has their terms.\n\n\
         Files: *\nCopyright: the netqueue authors\nLicense: MIT or Apache-2.0\n\n\
         License: MIT\n{indented}\n\
         License: Apache-2.0\n See /usr/share/common-licenses/Apache-2.0, or https://www.apache.org/licenses/LICENSE-2.0\n"
    ))
}

fn read(path: &Path) -> Result<Vec<u8>> {
    fs::read(path).with_context(|| format!("{} cannot be read", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_folder_comes_once_and_after_its_parent() {
        let entry = |path: &str| Entry { path: path.to_owned(), kind: Kind::Other, bytes: Vec::new() };
        let tree = Tree(vec![entry("usr/bin/netqueue"), entry("usr/share/doc/netqueue/README.md")]);
        assert_eq!(
            tree.folders(),
            ["usr", "usr/bin", "usr/share", "usr/share/doc", "usr/share/doc/netqueue"]
        );
    }

    #[test]
    fn only_what_is_run_is_executable() {
        let entry = |kind| Entry { path: "x".to_owned(), kind, bytes: Vec::new() };
        assert_eq!(entry(Kind::Program).mode(), 0o755);
        assert_eq!(entry(Kind::Setting).mode(), 0o644);
    }
}
