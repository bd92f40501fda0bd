//! Finds QEMU, or installs it from the machine's own Debian suite.

use std::process::Command;
use std::time::Instant;

use anyhow::{Context, Result, bail};

use super::apt;
use crate::process::{self, say};

/// The emulator's program.
pub(crate) const NAME: &str = "qemu-system-x86_64";
const PACKAGE: &str = "qemu-system-x86";

/// Makes sure that QEMU is on PATH.
pub(crate) fn ensure() -> Result<()> {
    if let Some(found) = process::on_path(NAME) {
        let version = process::output(Command::new(&found).arg("--version"))?;
        let version = version.lines().next().unwrap_or_default().to_owned();
        say("QEMU", format_args!("{version} already at {}", found.display()));
        return Ok(());
    }
    let start = Instant::now();
    say("QEMU", format_args!("installing {PACKAGE} with apt"));
    let removals = match removals() {
        Ok(removals) => removals,
        Err(_) => {
            process::output(&mut apt::command(PACKAGE, &["-q", "update"])?)
                .context("apt's package index cannot be fetched, and QEMU is not in the one there is")?;
            removals()?
        }
    };
    if let Some(foreign) = removals.iter().find(|name| !name.starts_with("qemu")) {
        bail!(
            "installing {PACKAGE} would remove {foreign}: install QEMU by hand so that {NAME} is on PATH, then run setup again"
        );
    }
    for other in &removals {
        say("QEMU", format_args!("{other}, of another QEMU version, gives way"));
    }
    process::output(&mut apt::command(
        PACKAGE,
        &["-q", "install", "-y", "--no-install-recommends", PACKAGE],
    )?)
    .context("QEMU cannot be installed")?;
    process::on_path(NAME).with_context(|| format!("{PACKAGE} is installed, yet {NAME} is not on PATH"))?;
    say("QEMU", format_args!("installed in {} s", start.elapsed().as_secs()));
    Ok(())
}

/// Lists the packages apt would remove to install QEMU; an error if its index lacks the package.
fn removals() -> Result<Vec<String>> {
    let plan = process::output(
        Command::new("apt-get")
            .args(["-s", "install", "--no-install-recommends", PACKAGE])
            .env("LC_ALL", "C"),
    )?;
    Ok(removed(&plan))
}

fn removed(plan: &str) -> Vec<String> {
    let lines = plan.lines().filter_map(|line| line.strip_prefix("Remv "));
    lines.filter_map(|line| line.split_whitespace().next()).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_apt_would_remove_is_read_from_its_plan() {
        let plan = "Inst seabios (1.16)\nRemv qemu-utils [1:10.0.2]\nInst qemu-system-x86 (1:7.2)\n";
        assert_eq!(removed(plan), ["qemu-utils"]);
        assert!(removed("Inst qemu-system-x86 (1:7.2)\n").is_empty());
    }
}
