//! Real programs for tests, from Debian packages unpacked below `target/programs`.
//!
//! Nothing of the machine is touched.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result, bail};

use crate::debian::{self, Package, Suite, empty_dir};
use crate::process::say;
use crate::workspace::Workspace;

/// A program and the package that contains it.
///
/// Go programs need nothing but the C library, so any suite's will run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Program {
    package: &'static str,
    /// Path in the package.
    file: &'static str,
}

/// Prometheus' own tool: checks rules and runs their tests.
pub(crate) const PROMTOOL: Program = Program { package: "promtool", file: "usr/bin/promtool" };

/// Scrapes, records and evaluates.
pub(crate) const PROMETHEUS: Program = Program { package: "prometheus", file: "usr/bin/prometheus" };
/// Delivers alerts.
pub(crate) const ALERTMANAGER: Program =
    Program { package: "prometheus-alertmanager", file: "usr/bin/prometheus-alertmanager" };
/// Exports a host's metrics, for comparison with netqueue.
pub(crate) const NODE_EXPORTER: Program =
    Program { package: "prometheus-node-exporter", file: "usr/bin/prometheus-node-exporter" };
/// Builds what `kubectl apply -k` would apply.
pub(crate) const KUBECTL: Program = Program { package: "kubectl", file: "usr/bin/kubectl" };

/// Suites to search, newest first: a suite that is out of reach does not stop a test.
const SUITES: [&str; 2] = ["sid", "trixie"];

impl Program {
    /// Returns the program's path; fetches it unless it is there already.
    pub(crate) fn ensure(self, workspace: &Workspace) -> Result<PathBuf> {
        let place = workspace.target("programs").join(self.package);
        let program = place.join(self.file);
        if program.is_file() {
            return Ok(program);
        }
        let mut refusals = Vec::new();
        for suite in SUITES {
            match Suite::open(workspace, suite).and_then(|suite| Ok((self.newest(&suite)?, suite))) {
                Ok((package, suite)) => {
                    self.fetch(workspace, &suite, &package)?;
                    say(
                        "program",
                        format_args!("{} {} ({}), fetched", package.name, package.version, suite.name()),
                    );
                    return Ok(program);
                }
                Err(reason) => refusals.push(format!("{suite}: {reason:#}")),
            }
        }
        bail!("no package {} is to be had ({})", self.package, refusals.join("; "))
    }

    fn newest(self, suite: &Suite) -> Result<Package> {
        let best = debian::newest(suite.versions(&[self.package.to_owned()])?)?;
        best.with_context(|| format!("{} has no package {}", suite.name(), self.package))
    }

    /// Unpacks beside the final place, then renames: a half-unpacked program is never found.
    fn fetch(self, workspace: &Workspace, suite: &Suite, package: &Package) -> Result<()> {
        let place = workspace.target("programs").join(self.package);
        let part = place.with_extension("part");
        empty_dir(&part)?;
        suite.unpack(&package.name, &package.version, &part)?;
        if !part.join(self.file).is_file() {
            bail!("{} {} holds no {}", package.name, package.version, self.file);
        }
        empty_dir(&place)?;
        fs::rename(&part, &place).with_context(|| format!("{} cannot be put in place", place.display()))
    }
}
