//! Real servers from Debian in a guest: their listeners beside those of `ss`, and incidents of nginx.

use anyhow::Result;

use super::lab;
use super::tally::Tally;
use crate::vm::{self, Payload, kernels, userland};
use crate::workspace::Workspace;

/// The step's name.
pub(crate) const NAME: &str = "real servers";

const PACKAGES: [&str; 4] = ["nginx", "openssl", "redis-server", "iproute2"];

/// Experiments that need the servers; the lab of the matrix skips them.
const EXPERIMENTS: [&str; 5] =
    ["real-servers", "nginx-stopped", "nginx-backlog-4", "nginx-keep-alive", "nginx-https-healthy"];

const KERNEL: &str = "6.12";

/// Boots a guest with the servers; an experiment that is skipped there has failed.
pub(crate) fn check(workspace: &Workspace, payload: &Payload) -> Result<Tally> {
    let payload =
        Payload { userland: Some(userland::ensure(workspace, &PACKAGES)?), ..Payload::clone(payload) };
    let arguments = ["lab", "run"].into_iter().chain(EXPERIMENTS).map(str::to_owned).collect();
    let options = vm::Options { arguments, ..vm::Options::default() };
    let tally = lab::run(workspace, kernels::row(KERNEL)?, &payload, &options);
    let missing = u32::try_from(EXPERIMENTS.len())?.saturating_sub(tally.passed + tally.failed);
    Ok(Tally { failed: tally.failed + missing, ..tally })
}
