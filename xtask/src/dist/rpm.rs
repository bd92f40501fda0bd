//! The RPM package.

use anyhow::{Context, Result};
use rpm::{BuildConfig, CompressionWithLevel, FileOptions, PackageBuilder, Scriptlet};

use super::tree::{Kind, Tree};
use super::{DESCRIPTION, LICENCE, NAME, Release, SUMMARY};

/// Script after installation: the distribution's presets decide whether the service starts.
const INSTALLED: &str = "systemctl daemon-reload >/dev/null 2>&1 || :\n\
    if [ $1 -eq 1 ]; then systemctl preset netqueue.service >/dev/null 2>&1 || :; fi";
/// Script before removal; an upgrade does nothing there.
const REMOVING: &str = "if [ $1 -eq 0 ]; then systemctl --no-reload disable --now netqueue.service netqueue-counts.service >/dev/null 2>&1 || :; fi";
/// Script after removal or replacement.
const REMOVED: &str = "systemctl daemon-reload >/dev/null 2>&1 || :\n\
    if [ $1 -ge 1 ]; then systemctl try-restart netqueue.service netqueue-counts.service >/dev/null 2>&1 || :; fi";

/// Builds the package and returns its bytes.
pub(super) fn write(tree: &Tree, release: &Release) -> Result<Vec<u8>> {
    let mut package = PackageBuilder::new(NAME, &release.version, LICENCE, "x86_64", SUMMARY);
    let config = BuildConfig::default().compression(CompressionWithLevel::Gzip(9)).source_date(release.date);
    package.using_config(config).release(release.number.to_string()).description(DESCRIPTION);
    package.build_host("localhost");
    for own in ["etc/netqueue", "usr/share/doc/netqueue"] {
        package.with_dir_entry(FileOptions::dir(format!("/{own}")))?;
    }
    for entry in tree.entries() {
        let permissions = u16::try_from(entry.mode()).context("permissions fit 16 bits")?;
        let options = FileOptions::new(format!("/{}", entry.path)).permissions(permissions);
        let options = match entry.kind {
            Kind::Setting => options.config().noreplace(),
            Kind::Manual => options.doc(),
            Kind::Program | Kind::Other => options,
        };
        package
            .with_file_contents(entry.bytes.clone(), options)
            .with_context(|| format!("{} cannot be packed", entry.path))?;
    }
    package.post_install_script(Scriptlet::new(INSTALLED));
    package.pre_uninstall_script(Scriptlet::new(REMOVING));
    package.post_uninstall_script(Scriptlet::new(REMOVED));
    let mut file = Vec::new();
    package.build()?.write(&mut file)?;
    Ok(file)
}
