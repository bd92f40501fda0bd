//! Stock Debian cloud kernels: one row per kernel line, resolved to the newest of its suite and cached.

use std::cmp::Ordering;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, bail};

use crate::debian::{Package, Suite, compare_versions, empty_dir};
use crate::setup::say;
use crate::workspace::Workspace;

/// One kernel line that netqueue is proven on.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Row {
    /// What `--kernel` takes; the series of the versions that qualify.
    pub(crate) name: &'static str,
    /// Where it is looked for, in this order.
    suites: &'static [&'static str],
    /// Debian development moves on: when the series is gone, its successor is taken, and said.
    rolling: bool,
    /// Booted where no kernel is named. The others are for a closer look: their suite may drop them any day.
    matrix: bool,
}

/// The table. A new row needs nothing else.
pub(crate) const ROWS: [Row; 6] = [
    Row { name: "5.10", suites: &["bullseye"], rolling: false, matrix: true },
    Row { name: "6.1", suites: &["bookworm"], rolling: false, matrix: true },
    Row { name: "6.12", suites: &["trixie"], rolling: false, matrix: true },
    Row { name: "6.18", suites: &["trixie-backports"], rolling: false, matrix: false },
    Row { name: "7.0", suites: &["trixie-backports"], rolling: false, matrix: false },
    Row { name: "7.2", suites: &["sid", "forky", "trixie-backports"], rolling: true, matrix: true },
];

/// From 7.x on, the image and the modules are packages of their own.
const PARTS: [&str; 2] = ["linux-binary-", "linux-modules-"];
/// So is the list of modules that are built in.
const LISTS: &str = "linux-base-";

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

/// What a row stands for today.
struct Resolved {
    suite: Suite,
    package: Package,
}

/// The rows named; those of the matrix where none is named, every one where `all` is.
pub(crate) fn choose(names: &[String]) -> Result<Vec<&'static Row>> {
    if names.is_empty() {
        return Ok(ROWS.iter().filter(|row| row.matrix).collect());
    }
    if names.iter().any(|name| name == "all") {
        return Ok(ROWS.iter().collect());
    }
    names.iter().map(|name| row(name)).collect()
}

/// The row of that name.
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
        match Suite::open(workspace, name).and_then(|suite| newest(suite, row.name)) {
            Ok(resolved) => return Ok(resolved),
            Err(reason) => refusals.push(format!("{reason:#}")),
        }
    }
    if row.rolling
        && let Some(first) = row.suites.first()
        && let Ok(resolved) = Suite::open(workspace, first).and_then(default_of)
    {
        say("kernel", format_args!("{}: {first} has moved on to {}", row.name, resolved.package.name));
        return Ok(resolved);
    }
    Err(anyhow!(refusals.join("; ")).context(format!("no kernel {} is to be had", row.name)))
}

/// The newest kernel of a series in a suite.
fn newest(suite: Suite, series: &str) -> Result<Resolved> {
    let mut names = suite.names(&format!("linux-image-{series}."))?;
    names.retain(|name| name.ends_with("-cloud-amd64"));
    let mut best: Option<Package> = None;
    for package in suite.versions(&names)? {
        let newer = match &best {
            Some(best) => compare_versions(&best.version, &package.version)? == Ordering::Less,
            None => true,
        };
        if newer {
            best = Some(package);
        }
    }
    let package = best.with_context(|| format!("{} has no cloud kernel {series}", suite.name()))?;
    Ok(Resolved { suite, package })
}

/// The kernel a suite installs when none is named.
fn default_of(suite: Suite) -> Result<Resolved> {
    let current = suite.versions(&["linux-image-cloud-amd64".to_owned()])?;
    let image = current.first().and_then(|meta| {
        meta.exact_depends
            .iter()
            .find(|(name, _)| name.starts_with("linux-image-"))
            .map(|(name, _)| name.clone())
    });
    let image = image.with_context(|| format!("{} names no current cloud kernel", suite.name()))?;
    let package = suite.versions(&[image])?.into_iter().next();
    let package =
        package.with_context(|| format!("{} does not carry its current cloud kernel", suite.name()))?;
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
        // Backports do not carry it for every version; it only holds lists, which a guest can do without.
        let lists = name.starts_with(LISTS)
            && !suite.versions(std::slice::from_ref(name)).unwrap_or_default().is_empty();
        if wanted || lists {
            suite.unpack(name, version, &unpacked)?;
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
    bail!("the packages hold no modules in lib/modules or usr/lib/modules")
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
