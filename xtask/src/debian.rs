//! Reads any Debian suite through a private apt root.
//!
//! It uses the machine's own mirror and keyring, and touches none of its state.

use std::cmp::Ordering;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result, bail};

use crate::process;
use crate::workspace::Workspace;

/// An index younger than this is not fetched again.
const FRESH: Duration = Duration::from_secs(12 * 3600);

/// Debian's keys, under the names its releases use for the file.
const KEYRINGS: [&str; 2] =
    ["/usr/share/keyrings/debian-archive-keyring.gpg", "/usr/share/keyrings/debian-archive-keyring.pgp"];

/// One package in one version, as a suite's index describes it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Package {
    pub(crate) name: String,
    pub(crate) version: String,
    /// Names of the packages it needs in exactly one version, with that version.
    pub(crate) exact_depends: Vec<(String, String)>,
}

/// A suite's index, verified by apt, with a place to download to.
#[derive(Debug)]
pub(crate) struct Suite {
    name: String,
    root: PathBuf,
}

impl Suite {
    /// Fetches the suite's index unless a fresh one is there.
    pub(crate) fn open(workspace: &Workspace, name: &str) -> Result<Self> {
        let root = workspace.target("apt").join(name);
        let suite = Self { name: name.to_owned(), root };
        // Each time: the folder may have been moved, or stem from an earlier xtask.
        suite.configure()?;
        let stamp = suite.root.join("fetched");
        if !is_fresh(&stamp) {
            suite.fetch().with_context(|| format!("the index of Debian {name} cannot be read"))?;
            fs::write(&stamp, "").with_context(|| format!("{} cannot be written", stamp.display()))?;
        }
        Ok(suite)
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Names of all packages that begin with `prefix`.
    pub(crate) fn names(&self, prefix: &str) -> Result<Vec<String>> {
        let names = process::output(self.tool("apt-cache").args(["pkgnames", prefix]))?;
        Ok(names.lines().map(str::to_owned).collect())
    }

    /// All versions of the named packages.
    pub(crate) fn versions(&self, names: &[String]) -> Result<Vec<Package>> {
        if names.is_empty() {
            return Ok(Vec::new());
        }
        let index = process::output(self.tool("apt-cache").args(["show", "--all-versions"]).args(names))?;
        Ok(parse_index(&index))
    }

    /// Downloads one package (apt checks it against the signed index) and unpacks it into `into`.
    pub(crate) fn unpack(&self, name: &str, version: &str, into: &Path) -> Result<()> {
        let downloads = self.root.join("downloads");
        empty_dir(&downloads)?;
        let wanted = format!("{name}={version}");
        process::output(self.tool("apt-get").args(["-q", "download", &wanted]).current_dir(&downloads))?;
        let mut files = fs::read_dir(&downloads)?.map(|file| Ok(file?.path())).collect::<Result<Vec<_>>>()?;
        let (Some(deb), true) = (files.pop(), files.is_empty()) else {
            bail!("`apt-get download {wanted}` should have left one file in {}", downloads.display());
        };
        fs::create_dir_all(into).with_context(|| format!("{} cannot be made", into.display()))?;
        process::output(Command::new("dpkg-deb").arg("-x").arg(&deb).arg(into))?;
        fs::remove_dir_all(&downloads).with_context(|| format!("{} cannot be removed", downloads.display()))
    }

    /// Downloads the named packages and all their dependencies, and unpacks them into `into`.
    ///
    /// They are unpacked as on an empty machine: no package's own script runs, but dpkg there lists them as
    /// installed. Returns each package with its version.
    pub(crate) fn unpack_all(&self, names: &[&str], into: &Path) -> Result<Vec<String>> {
        let downloads = self.root.join("downloads");
        empty_dir(&downloads)?;
        fs::create_dir_all(downloads.join("partial"))
            .with_context(|| format!("{} cannot be made", downloads.display()))?;
        let archives = format!("Dir::Cache::archives={}", downloads.display());
        let fetch = ["-q", "-y", "--no-install-recommends", "--download-only", "-o", &archives, "install"];
        process::output(self.tool("apt-get").args(fetch).args(names))?;
        let files = fs::read_dir(&downloads)?.map(|file| Ok(file?.path())).collect::<Result<Vec<_>>>()?;
        let mut files: Vec<_> =
            files.into_iter().filter(|file| file.extension().is_some_and(|end| end == "deb")).collect();
        files.sort();
        fs::create_dir_all(into).with_context(|| format!("{} cannot be made", into.display()))?;
        let mut unpacked = Vec::new();
        for deb in &files {
            process::output(Command::new("dpkg-deb").arg("-x").arg(deb).arg(into))?;
            let shown = ["-W", "--showformat=${Package} ${Version}"];
            unpacked.push(process::output(Command::new("dpkg-deb").args(shown).arg(deb))?);
            register(deb, into)?;
        }
        fs::remove_dir_all(&downloads)
            .with_context(|| format!("{} cannot be removed", downloads.display()))?;
        Ok(unpacked)
    }

    fn configure(&self) -> Result<()> {
        for folder in ["lists/partial", "cache/archives/partial"] {
            fs::create_dir_all(self.root.join(folder))
                .with_context(|| format!("{} cannot be made", self.root.display()))?;
        }
        let signed_by = KEYRINGS.iter().find(|file| Path::new(file).is_file());
        let options = signed_by.map(|file| format!("[signed-by={file}] ")).unwrap_or_default();
        let source = format!("deb {options}{} {} main\n", mirror()?, self.name);
        fs::write(self.root.join("sources.list"), source)
            .context("the private source list cannot be written")?;
        fs::write(self.root.join("apt.conf"), self.configuration())
            .context("apt's private configuration cannot be written")?;
        fs::write(self.root.join("status"), "").context("the private package list cannot be written")
    }

    fn fetch(&self) -> Result<()> {
        process::output(self.tool("apt-get").args(["-q", "update"])).map(drop)
    }

    /// An apt program that sees this suite and nothing else.
    fn tool(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command.arg("-c").arg(self.root.join("apt.conf"));
        command
    }

    /// apt's configuration: everything it reads or writes lies below `root`, but for the keyring.
    fn configuration(&self) -> String {
        let at = |below: &str| self.root.join(below).display().to_string();
        let options = [
            ("Dir::Etc::sourcelist", at("sources.list")),
            ("Dir::Etc::sourceparts", "/dev/null".to_owned()),
            ("Dir::Etc::preferencesparts", "/dev/null".to_owned()),
            ("Dir::State::lists", at("lists")),
            ("Dir::State::status", at("status")),
            ("Dir::Cache", at("cache")),
            ("APT::Sandbox::User", "root".to_owned()),
            // Half an index is no index.
            ("APT::Update::Error-Mode", "any".to_owned()),
            ("Acquire::Languages", "none".to_owned()),
            ("Acquire::IndexTargets::deb::DEP-11::DefaultEnabled", "false".to_owned()),
            ("Acquire::IndexTargets::deb::CNF::DefaultEnabled", "false".to_owned()),
            ("Acquire::Retries", "3".to_owned()),
            ("Acquire::http::Timeout", "30".to_owned()),
            ("Acquire::https::Timeout", "30".to_owned()),
        ];
        options.map(|(option, value)| format!("{option} \"{value}\";\n")).concat()
    }
}

/// Registers the package as installed, with its files, in the dpkg database of the Debian in `root`.
fn register(deb: &Path, root: &Path) -> Result<()> {
    let database = root.join("var/lib/dpkg");
    let shown = || format!("{} cannot be written", database.display());
    fs::create_dir_all(database.join("info")).with_context(shown)?;
    let ask = |option: &str| process::output(Command::new("dpkg-deb").arg(option).arg(deb));
    let control = ask("--field")?.trim_end().replacen('\n', "\nStatus: install ok installed\n", 1);
    let mut status =
        fs::OpenOptions::new().create(true).append(true).open(database.join("status")).with_context(shown)?;
    writeln!(status, "{control}\n").with_context(shown)?;
    let names = process::output(
        Command::new("dpkg-deb")
            .args(["-W", "--showformat=${Package} ${Multi-Arch} ${Architecture}"])
            .arg(deb),
    )?;
    let owner = match names.split(' ').collect::<Vec<_>>().as_slice() {
        [name, "same", architecture] => format!("{name}:{architecture}"),
        [name, ..] => (*name).to_owned(),
        [] => bail!("{} has no name", deb.display()),
    };
    let files = ask("--contents")?;
    let files = files.lines().filter_map(|line| line.split_whitespace().nth(5)?.strip_prefix('.'));
    let files: String = files
        .map(|file| format!("{}\n", if file == "/" { "/." } else { file.trim_end_matches('/') }))
        .collect();
    fs::write(database.join("info").join(format!("{owner}.list")), files).with_context(shown)
}

/// Compares two Debian versions by dpkg's own rules.
fn compare_versions(left: &str, right: &str) -> Result<Ordering> {
    if left == right {
        return Ok(Ordering::Equal);
    }
    let status = Command::new("dpkg").args(["--compare-versions", left, "lt", right]).status();
    match status.context("dpkg could not be started")?.code() {
        Some(0) => Ok(Ordering::Less),
        Some(1) => Ok(Ordering::Greater),
        _ => bail!("dpkg cannot compare the versions {left} and {right}"),
    }
}

/// Returns the package with the highest version; `None` if there is none.
pub(crate) fn newest(packages: Vec<Package>) -> Result<Option<Package>> {
    let mut best: Option<Package> = None;
    for package in packages {
        let newer = match &best {
            Some(best) => compare_versions(&best.version, &package.version)? == Ordering::Less,
            None => true,
        };
        if newer {
            best = Some(package);
        }
    }
    Ok(best)
}

/// Makes `dir` exist and be empty.
pub(crate) fn empty_dir(dir: &Path) -> Result<()> {
    if dir.exists() {
        fs::remove_dir_all(dir).with_context(|| format!("{} cannot be removed", dir.display()))?;
    }
    fs::create_dir_all(dir).with_context(|| format!("{} cannot be made", dir.display()))
}

/// The Debian mirror this machine uses, from its own apt configuration.
fn mirror() -> Result<String> {
    let targets = process::output(Command::new("apt-get").args(["indextargets", "--format", "$(REPO_URI)"]))
        .context("xtask needs Debian's apt")?;
    let mirror = pick_mirror(&targets);
    mirror.context(
        "apt has no Debian source here: a line such as `deb URI SUITE main` is missing in sources.list",
    )
}

fn pick_mirror(targets: &str) -> Option<String> {
    let uris = || targets.lines().map(|uri| uri.trim().trim_end_matches('/'));
    let main = uris().find(|uri| uri.ends_with("/debian"));
    main.or_else(|| uris().find(|uri| !uri.is_empty() && !uri.contains("security"))).map(str::to_owned)
}

fn is_fresh(stamp: &Path) -> bool {
    let written = fs::metadata(stamp).and_then(|meta| meta.modified());
    written.is_ok_and(|at| SystemTime::now().duration_since(at).is_ok_and(|age| age < FRESH))
}

fn parse_index(index: &str) -> Vec<Package> {
    let mut packages = Vec::new();
    for stanza in index.split("\n\n").filter(|stanza| !stanza.trim().is_empty()) {
        let mut package = Package::default();
        for line in stanza.lines() {
            match line.split_once(": ") {
                Some(("Package", name)) => package.name = name.to_owned(),
                Some(("Version", version)) => package.version = version.to_owned(),
                Some(("Depends", list)) => {
                    package.exact_depends = list.split(", ").filter_map(exact).collect()
                }
                _ => {}
            }
        }
        packages.push(package);
    }
    packages
}

/// Parses `name (= version)`, and nothing less definite.
fn exact(dependency: &str) -> Option<(String, String)> {
    let (name, rest) = dependency.split_once(" (= ")?;
    Some((name.to_owned(), rest.strip_suffix(')')?.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_main_archive_is_preferred_to_the_security_one() {
        let targets = "http://one.example/debian-security/\nhttp://one.example/debian/\n";
        assert_eq!(pick_mirror(targets).as_deref(), Some("http://one.example/debian"));
        assert_eq!(pick_mirror("http://one.example/debian-security/\n"), None);
    }

    #[test]
    fn an_index_gives_names_versions_and_exact_dependencies() {
        let index = "Package: linux-image-9\nVersion: 9.1-1\nDepends: dracut | initramfs-tools (>= 0.1), linux-binary-9 (= 9.1-1)\n\nPackage: other\nVersion: 2\n\n";
        let packages = parse_index(index);
        assert_eq!(packages.len(), 2);
        assert_eq!(packages[0].exact_depends, [("linux-binary-9".to_owned(), "9.1-1".to_owned())]);
        assert_eq!((packages[1].name.as_str(), packages[1].version.as_str()), ("other", "2"));
    }

    #[test]
    fn versions_compare_as_numbers_not_as_text() {
        assert_eq!(compare_versions("6.12.9-1", "6.12.107-1").unwrap(), Ordering::Less);
        assert_eq!(compare_versions("7.2-1", "7.2-1").unwrap(), Ordering::Equal);
    }
}
