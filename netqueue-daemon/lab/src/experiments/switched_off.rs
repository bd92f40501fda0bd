//! A switch of the kernel that disables programs while they stay attached: netqueue must name it.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::Result;
use netqueue_api::{Diagnosis, Verdict};

use crate::client::Server;
use crate::counters::Counter;
use crate::expectation::{Amount, Expectation, Experiment, Fixture, Scenario};
use crate::host_setting::{self, HostSetting};

pub(super) const FTRACE: Experiment = Experiment {
    number: "K2",
    name: "ftrace-switched-off",
    incident: "kernel.ftrace_enabled is set to 0 for a moment, and to 1 again",
    verdict: "while it is 0, netqueue is blind and says which sysctl makes it so; then it sees again",
    provoke: Scenario::Watching(ftrace),
};

const SYSCTL: &str = "kernel.ftrace_enabled";
const SAID_WITHIN: Duration = Duration::from_secs(5);

fn ftrace(fixture: &Fixture<'_>) -> Result<Expectation> {
    host_setting::allowed(
        fixture.settings,
        "it switches the whole machine's ftrace off for a second or two",
    )?;
    let mut expectation =
        Expectation { kernel: vec![(Counter::ListenDrops, Amount::Exactly(0))], ..Expectation::default() };
    // Nothing is dropped meanwhile: a drop that netqueue misses would remain as a residual for ever.
    let off = HostSetting::change("kernel/ftrace_enabled", 0)?;
    if let Some(server) = fixture.server
        && !soon(server, true)?
    {
        expectation.problems.push(format!("{SYSCTL} is 0, and neither a warning nor netqueue_blind says so"));
    }
    off.restore()?;
    if let Some(server) = fixture.server
        && !soon(server, false)?
    {
        expectation.problems.push(format!("{SYSCTL} is 1 again, and netqueue still says that it is 0"));
    }
    Ok(expectation)
}

/// Polls until netqueue names the sysctl (or no longer does); returns false at the time limit.
fn soon(server: &Server, named: bool) -> Result<bool> {
    let deadline = Instant::now() + SAID_WITHIN;
    while is_named(server)? != named {
        if Instant::now() > deadline {
            return Ok(false);
        }
        thread::sleep(Duration::from_millis(100));
    }
    Ok(true)
}

/// Returns whether both a warning and the verdict name the sysctl.
fn is_named(server: &Server) -> Result<bool> {
    let answer = server.ask::<Diagnosis>("/api/v1/diagnosis")?;
    let blind = |verdict: &Verdict| verdict.rule == "netqueue_blind" && verdict.summary.contains(SYSCTL);
    Ok(answer.warnings.iter().any(|warning| warning.contains(SYSCTL))
        && answer.data.verdicts.iter().any(blind))
}
