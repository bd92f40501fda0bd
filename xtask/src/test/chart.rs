//! Checks the Helm chart and the kustomize base: linted, rendered and validated strictly.

use std::process::Command;

use anyhow::Result;

use super::tally::{self, Tally};
use crate::process;
use crate::setup::programs::KUBECTL;
use crate::setup::python::KUBERNETES;
use crate::workspace::Workspace;

/// Counts the checks of `deploy/kubernetes/check.py`, and one that kustomize builds the base.
pub(crate) fn check(workspace: &Workspace) -> Result<Tally> {
    let python = KUBERNETES.ensure(workspace)?;
    let folder = workspace.root().join("deploy/kubernetes");
    let mut script = Command::new(python);
    script.arg(folder.join("check.py"));
    let (status, lines) = process::tee(&mut script)?;
    let counted = lines.last().and_then(|line| tally::read_summary(line)).unwrap_or_default();
    let mut total = counted.or_failure(status.success());
    let kubectl = KUBECTL.ensure(workspace)?;
    let built = process::output(Command::new(kubectl).arg("kustomize").arg(folder.join("base")))?;
    total.add(Tally::of(built.contains("kind: DaemonSet") && built.contains("namespace: monitoring")));
    Ok(total)
}
