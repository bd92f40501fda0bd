//! `cargo xtask dist`: makes everything that is handed out, from one list of files.
//!
//! The same source gives the same bytes.

mod archive;
mod deb;
mod licences;
mod oci;
mod parts;
mod rpm;
mod sbom;
mod tree;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};
use sha2::{Digest, Sha256};

use crate::build::{self, Flavour};
use crate::debian::empty_dir;
use crate::process;
use crate::workspace::Workspace;
use tree::Tree;

/// Name of the program, the packages and the image.
const NAME: &str = "netqueue";
/// Summary in one line.
const SUMMARY: &str = "attributes the kernel's listen drops and resets to listener and cause";
/// Description in one paragraph.
const DESCRIPTION: &str = "A daemon that attaches eBPF programs to the kernel functions that drop connection attempts and send resets, and \
     charges each to the listener and cause that earned it: for Prometheus, for Grafana, and on the command line.";
const LICENCE: &str = "MIT OR Apache-2.0";

/// Arguments of `cargo xtask dist`.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Options {
    /// Folder for the results; emptied first.
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Release number of the packages; raise it for a package that replaces one of the same version.
    #[arg(long, default_value_t = 1, value_name = "NUMBER")]
    release: u32,
    /// A static binary to pack instead of a freshly built one.
    #[arg(long, value_name = "FILE")]
    binary: Option<PathBuf>,
}

/// Facts that all packages state about themselves.
#[derive(Debug, Clone)]
pub(crate) struct Release {
    /// Version of the workspace.
    version: String,
    /// Release number of the package.
    number: u32,
    /// Date of every file, in seconds since 1970: the commit's.
    date: u32,
}

impl Release {
    /// Takes the workspace's version, dated by its last commit (or by SOURCE_DATE_EPOCH).
    pub(crate) fn of(workspace: &Workspace, number: u32) -> Result<Self> {
        let manifest = fs::read_to_string(workspace.root().join("Cargo.toml"))?;
        let manifest: toml::Table = manifest.parse().context("Cargo.toml cannot be understood")?;
        let version = manifest["workspace"]["package"]["version"].as_str();
        Ok(Self {
            version: version.context("the workspace has no version")?.to_owned(),
            number,
            date: date(workspace)?,
        })
    }
}

/// Builds everything, and prints the files with their sums.
pub(crate) fn command(workspace: &Workspace, options: &Options) -> Result<()> {
    let binary = match &options.binary {
        Some(given) => given.clone(),
        None => build::netqueue(workspace, Flavour::HANDED_OUT)?,
    };
    let out = options.out.clone().unwrap_or_else(|| workspace.target("dist"));
    for (file, sum) in make(workspace, &binary, &Release::of(workspace, options.release)?, &out)? {
        println!("{sum}  {}", workspace.show(&file));
    }
    Ok(())
}

/// Makes everything in `out`, which is emptied first; returns the files with their SHA-256 sums.
///
/// The sums are also written to a file.
pub(crate) fn make(
    workspace: &Workspace,
    binary: &Path,
    release: &Release,
    out: &Path,
) -> Result<Vec<(PathBuf, String)>> {
    empty_dir(out)?;
    let program = fs::read(binary).with_context(|| format!("{} cannot be read", binary.display()))?;
    let parts = parts::linked_in(workspace)?;
    let (bill, licences) = (sbom::write(&parts, release, &program)?, licences::write(&parts)?);
    let tree = Tree::gather(workspace, binary, &bill, &licences)?;
    let Release { version, number, .. } = release;
    let files = [
        (format!("{NAME}-{version}-linux-amd64"), program),
        (format!("{NAME}_{version}-{number}_amd64.deb"), deb::write(&tree, release)?),
        (format!("{NAME}-{version}-{number}.x86_64.rpm"), rpm::write(&tree, release)?),
        (format!("{NAME}-{version}-oci-amd64.tar"), oci::write(&tree, release)?),
        (format!("{NAME}-{version}.cdx.json"), bill.into_bytes()),
        (format!("{NAME}-{version}-licences.txt"), licences.into_bytes()),
    ];
    let mut made = Vec::new();
    let mut sums = String::new();
    for (name, bytes) in files {
        let sum = sha256(&bytes);
        sums += &format!("{sum}  {name}\n");
        let path = out.join(name);
        fs::write(&path, bytes).with_context(|| format!("{} cannot be written", path.display()))?;
        made.push((path, sum));
    }
    executable(&made[0].0)?;
    fs::write(out.join("SHA256SUMS"), sums).context("the sums cannot be written")?;
    Ok(made)
}

/// Makes the .deb alone.
pub(crate) fn make_deb(workspace: &Workspace, binary: &Path, release: &Release, into: &Path) -> Result<()> {
    let program = fs::read(binary).with_context(|| format!("{} cannot be read", binary.display()))?;
    let parts = parts::linked_in(workspace)?;
    let (bill, licences) = (sbom::write(&parts, release, &program)?, licences::write(&parts)?);
    let package = deb::write(&Tree::gather(workspace, binary, &bill, &licences)?, release)?;
    fs::write(into, package).with_context(|| format!("{} cannot be written", into.display()))
}

fn executable(file: &Path) -> Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    fs::set_permissions(file, fs::Permissions::from_mode(0o755))
        .with_context(|| format!("{} cannot be made executable", file.display()))
}

/// Returns the SHA-256 sum in lower-case hexadecimal.
fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

fn date(workspace: &Workspace) -> Result<u32> {
    let seconds = match std::env::var("SOURCE_DATE_EPOCH") {
        Ok(given) => given,
        Err(_) => process::output(Command::new("git").current_dir(workspace.root()).args([
            "log",
            "-1",
            "--format=%ct",
        ]))?,
    };
    let seconds = seconds.trim();
    seconds.parse().with_context(|| {
        format!(
            "{seconds:?} is no date: SOURCE_DATE_EPOCH takes seconds since 1970, as `date +%s` prints them"
        )
    })
}
