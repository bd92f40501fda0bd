//! Stock Debian kernels, mostly of the cloud flavour.
//!
//! Each row is one kernel line, resolved to the newest of its suite, and cached.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, bail};

use crate::debian::{self, Package, Suite, empty_dir};
use crate::process::say;
use crate::workspace::Workspace;

/// One kernel line that netqueue is proven on.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Row {
    /// Name that `--kernel` accepts.
    pub(crate) name: &'static str,
    /// The versions that qualify.
    series: &'static str,
    flavour: Flavour,
    /// Suites to search, in this order.
    suites: &'static [&'static str],
    /// True if the suite moves on: once the series is gone, its successor is taken, with a message.
    rolling: bool,
    /// True if booted where no kernel is named.
    ///
    /// The other rows are for a closer look: their suite may drop them any day.
    matrix: bool,
}

/// Purpose for which a Debian kernel is built.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Flavour {
    /// Virtual machines.
    Cloud,
    /// Any machine.
    Ordinary,
    /// PREEMPT_RT: what runs with bottom halves off may be preempted.
    Realtime,
}

impl Flavour {
    /// Returns the ending of its packages' names.
    const fn suffix(self) -> &'static str {
        match self {
            Self::Cloud => "-cloud-amd64",
            Self::Ordinary => "-amd64",
            Self::Realtime => "-rt-amd64",
        }
    }

    /// Returns whether a package `linux-image-*` is a kernel of this flavour.
    fn is_of(self, package: &str) -> bool {
        let flavours = [Self::Cloud, Self::Realtime, Self::Ordinary];
        flavours.into_iter().find(|flavour| package.ends_with(flavour.suffix())) == Some(self)
    }
}

/// A row of the matrix: a cloud kernel.
const fn matrix(series: &'static str, suites: &'static [&'static str]) -> Row {
    Row { name: series, series, flavour: Flavour::Cloud, suites, rolling: false, matrix: true }
}

/// A row for a closer look.
const fn closer(
    name: &'static str,
    series: &'static str,
    flavour: Flavour,
    suites: &'static [&'static str],
) -> Row {
    Row { name, series, flavour, suites, rolling: false, matrix: false }
}

/// Every row. A new one needs nothing else.
pub(crate) const ROWS: [Row; 9] = [
    matrix("5.10", &["bullseye"]),
    matrix("6.1", &["bookworm"]),
    matrix("6.12", &["trixie"]),
    Row { rolling: true, ..matrix("7.2", &["sid", "forky", "trixie-backports"]) },
    closer("6.1-ordinary", "6.1", Flavour::Ordinary, &["bookworm"]),
    closer("6.12-rt", "6.12", Flavour::Realtime, &["trixie"]),
    Row { rolling: true, ..closer("7.2-rt", "7.2", Flavour::Realtime, &["sid", "forky"]) },
    closer("6.18", "6.18", Flavour::Cloud, &["trixie-backports"]),
    closer("7.0", "7.0", Flavour::Cloud, &["trixie-backports"]),
];

/// Packages that belong to the kernel's own: from 7.x on, the image is one.
const PARTS: [&str; 1] = ["linux-binary-"];
/// Packages of the modules, and of the list of built-in modules, from 7.x on.
///
/// Backports drop them before the image: a guest boots without.
const EXTRAS: [&str; 2] = ["linux-modules-", "linux-base-"];

/// A kernel on disk.
#[derive(Debug)]
pub(crate) struct Kernel {
    /// The row's name.
    pub(crate) name: &'static str,
    /// Package, version and suite.
    pub(crate) package: String,
    /// The bootable image.
    pub(crate) image: PathBuf,
    /// The folder with the modules of this very build.
    pub(crate) modules: PathBuf,
}

/// Package that a row resolves to today.
struct Resolved {
    suite: Suite,
    package: Package,
}

/// Selects the rows named; those of the matrix where none is named, every one for `all`.
pub(crate) fn choose(names: &[String]) -> Result<Vec<&'static Row>> {
    if names.is_empty() {
        return Ok(ROWS.iter().filter(|row| row.matrix).collect());
    }
    if names.iter().any(|name| name == "all") {
        return Ok(ROWS.iter().collect());
    }
    names.iter().map(|name| row(name)).collect()
}

/// Finds the row of that name.
pub(crate) fn row(name: &str) -> Result<&'static Row> {
    let known = || ROWS.map(|row| row.name).join(", ");
    ROWS.iter()
        .find(|row| row.name == name)
        .with_context(|| format!("no kernel {name:?}: there are {}", known()))
}

/// Makes sure the row's kernel is in the cache, the newest one where the suite can be reached.
pub(crate) fn ensure(workspace: &Workspace, row: &'static Row) -> Result<Kernel> {
    let place = workspace.target("kernels").join(row.name);
    let cached = open(row, &place);
    let resolved = match (resolve(workspace, row), &cached) {
        (Ok(resolved), _) => resolved,
        (Err(reason), Ok(kernel)) => {
            say("kernel", format_args!("{}: its suite is out of reach ({reason:#})", row.name));
            say("kernel", format_args!("{}: the cached {} will do", row.name, kernel.package));
            return cached;
        }
        (Err(reason), Err(_)) => return Err(reason),
    };
    let Resolved { suite, package } = resolved;
    let wanted = format!("{} {} ({})", package.name, package.version, suite.name());
    if let Ok(kernel) = cached
        && kernel.package == wanted
    {
        say("kernel", format_args!("{}: {wanted}, cached", row.name));
        return Ok(kernel);
    }
    fetch(&suite, &package, &place, &wanted).with_context(|| format!("{wanted} cannot be fetched"))?;
    say("kernel", format_args!("{}: {wanted}, fetched", row.name));
    open(row, &place)
}

fn resolve(workspace: &Workspace, row: &Row) -> Result<Resolved> {
    let mut refusals = Vec::new();
    for name in row.suites {
        match Suite::open(workspace, name).and_then(|suite| newest(suite, row)) {
            Ok(resolved) => return Ok(resolved),
            Err(reason) => refusals.push(format!("{reason:#}")),
        }
    }
    if row.rolling
        && let Some(first) = row.suites.first()
        && let Ok(resolved) = Suite::open(workspace, first).and_then(|suite| default_of(suite, row.flavour))
    {
        say("kernel", format_args!("{}: {first} has moved on to {}", row.name, resolved.package.name));
        return Ok(resolved);
    }
    Err(anyhow!(refusals.join("; ")).context(format!("no kernel {} is to be had", row.name)))
}

/// The newest kernel of a row's series and flavour in a suite.
fn newest(suite: Suite, row: &Row) -> Result<Resolved> {
    let Row { series, flavour, .. } = *row;
    let mut names = suite.names(&format!("linux-image-{series}."))?;
    names.retain(|name| flavour.is_of(name));
    let best = debian::newest(suite.versions(&names)?)?;
    let package =
        best.with_context(|| format!("{} has no {} kernel {series}", suite.name(), flavour.suffix()))?;
    Ok(Resolved { suite, package })
}

/// The kernel of a flavour that a suite installs when no version is named.
fn default_of(suite: Suite, flavour: Flavour) -> Result<Resolved> {
    let current = suite.versions(&[format!("linux-image{}", flavour.suffix())])?;
    let image = current.first().and_then(|meta| {
        meta.exact_depends
            .iter()
            .find(|(name, _)| name.starts_with("linux-image-"))
            .map(|(name, _)| name.clone())
    });
    let image =
        image.with_context(|| format!("{} names no current kernel {}", suite.name(), flavour.suffix()))?;
    let package = suite.versions(&[image])?.into_iter().next();
    let package = package.with_context(|| {
        format!("{} does not carry its current kernel {}", suite.name(), flavour.suffix())
    })?;
    Ok(Resolved { suite, package })
}

/// Unpacks image and modules, keeps what a guest needs, and puts it in place in one step.
fn fetch(suite: &Suite, package: &Package, place: &Path, label: &str) -> Result<()> {
    let unpacked = place.with_extension("unpacked");
    let part = place.with_extension("part");
    empty_dir(&unpacked)?;
    empty_dir(&part)?;
    suite.unpack(&package.name, &package.version, &unpacked)?;
    for (name, version) in &package.exact_depends {
        let wanted = PARTS.iter().any(|part| name.starts_with(part));
        let optional = EXTRAS.iter().any(|part| name.starts_with(part));
        let carried = || !suite.versions(std::slice::from_ref(name)).unwrap_or_default().is_empty();
        if wanted || optional && carried() {
            suite.unpack(name, version, &unpacked)?;
        } else if optional {
            say("kernel", format_args!("{} no longer carries {name}", suite.name()));
        }
    }
    let modules = modules_of(&unpacked)?;
    let image = image_of(&unpacked, &modules)?;
    fs::rename(image, part.join("vmlinuz"))?;
    fs::rename(modules, part.join("modules"))?;
    fs::write(part.join("package"), label)?;
    empty_dir(place)?;
    fs::rename(&part, place)?;
    fs::remove_dir_all(&unpacked)?;
    Ok(())
}

fn modules_of(unpacked: &Path) -> Result<PathBuf> {
    for parent in ["lib/modules", "usr/lib/modules"].map(|below| unpacked.join(below)) {
        let Ok(mut versions) = fs::read_dir(&parent) else { continue };
        if let Some(version) = versions.next() {
            return Ok(version?.path());
        }
    }
    // The modules' package is gone.
    let none = unpacked.join("modules");
    empty_dir(&none)?;
    Ok(none)
}

fn image_of(unpacked: &Path, modules: &Path) -> Result<PathBuf> {
    let beside = modules.join("vmlinuz");
    if beside.is_file() {
        return Ok(beside);
    }
    for file in fs::read_dir(unpacked.join("boot")).context("the packages hold no boot folder")? {
        let file = file?;
        if file.file_name().to_string_lossy().starts_with("vmlinuz-") {
            return Ok(file.path());
        }
    }
    bail!("the packages hold no vmlinuz")
}

fn open(row: &'static Row, place: &Path) -> Result<Kernel> {
    let package = fs::read_to_string(place.join("package"))
        .with_context(|| format!("no kernel {} in {}", row.name, place.display()))?;
    Ok(Kernel { name: row.name, package, image: place.join("vmlinuz"), modules: place.join("modules") })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flavour_is_not_taken_for_another() {
        let of = |package: &str| {
            let all = [Flavour::Cloud, Flavour::Ordinary, Flavour::Realtime];
            all.into_iter().filter(|flavour| flavour.is_of(package)).collect::<Vec<_>>()
        };
        assert_eq!(of("linux-image-6.1.0-50-amd64"), [Flavour::Ordinary]);
        assert_eq!(of("linux-image-6.1.0-50-cloud-amd64"), [Flavour::Cloud]);
        assert_eq!(of("linux-image-6.12.107+deb13-rt-amd64"), [Flavour::Realtime]);
        assert_eq!(of("linux-image-6.1.0-50-amd64-dbg"), []);
    }

    #[test]
    fn an_unknown_kernel_is_refused_with_the_known_ones() {
        let error = choose(&["4.19".to_owned()]).unwrap_err().to_string();
        assert!(error.contains("4.19") && error.contains("6.12"), "{error}");
    }

    #[test]
    fn naming_none_means_the_matrix() {
        assert_eq!(
            choose(&[]).unwrap().iter().map(|row| row.name).collect::<Vec<_>>(),
            ["5.10", "6.1", "6.12", "7.2"]
        );
        assert_eq!(choose(&["all".to_owned()]).unwrap().len(), ROWS.len());
        assert_eq!(choose(&["6.1".to_owned()]).unwrap(), [row("6.1").unwrap()]);
    }

    #[test]
    fn the_image_is_found_in_the_old_and_the_new_place() {
        let dir = tempfile::tempdir().unwrap();
        let modules = dir.path().join("usr/lib/modules/9.1");
        fs::create_dir_all(&modules).unwrap();
        fs::create_dir_all(dir.path().join("boot")).unwrap();
        fs::write(dir.path().join("boot/vmlinuz-9.1"), "").unwrap();
        assert_eq!(modules_of(dir.path()).unwrap(), modules);
        assert!(image_of(dir.path(), &modules).unwrap().ends_with("boot/vmlinuz-9.1"));
        fs::write(modules.join("vmlinuz"), "").unwrap();
        assert!(image_of(dir.path(), &modules).unwrap().ends_with("9.1/vmlinuz"));
    }
}
