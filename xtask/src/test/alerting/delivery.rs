//! Tests netqueue's own alerts: a real Alertmanager that comes up late, and a webhook.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::Result;
use guest_init::http;

use super::services::{self, Services};
use super::webhook::Webhook;
use super::{SPIKE, until};
use crate::process::Running;
use crate::test::tally::Tally;
use crate::workspace::Workspace;

/// Limit until the spike is found, refused, tried again, and delivered.
const LIMIT: Duration = Duration::from_secs(90);

/// Makes four checks over a recording of a burst: refused and counted, delivered to both, none lost.
pub(super) fn check(workspace: &Workspace, netqueue: &Path, recording: &Path) -> Result<Tally> {
    let mut tally = Tally::default();
    let mut judge = |what: &str, passed: bool| {
        println!("{}  {what}", if passed { "ok    " } else { "FAILED" });
        tally.add(Tally::of(passed));
    };
    let (direct, by_alertmanager) = (Webhook::listen()?, Webhook::listen()?);
    let free = || -> Result<SocketAddr> { Ok((Ipv4Addr::LOCALHOST, services::free_port()?).into()) };
    let (daemon, alertmanager) = (free()?, free()?);
    let mut replay = Command::new(netqueue);
    replay.arg("replay").arg(recording).args(["--web.listen-address", &daemon.to_string()]);
    replay.arg(format!("--alerts.alertmanager-url=http://{alertmanager}"));
    replay.arg(format!("--alerts.webhook-url=http://{}/", direct.address()));
    let _netqueue = Running::start(&mut replay)?;

    let counted = |target: &str, outcome: &str| notices(daemon, target, outcome);
    let some = |number: Option<f64>| number.filter(|number| *number > 0.0);
    let refused = until("a refusal is counted", LIMIT, || Ok(some(counted("alertmanager", "refused"))));
    judge("what an Alertmanager that is away does not take is counted", refused.is_ok());
    let told =
        |webhook: &Webhook| webhook.firing().into_iter().any(|alert| alert.name == SPIKE).then_some(());
    judge(
        "a webhook is told of the spike",
        until("the webhook is told", LIMIT, || Ok(told(&direct))).is_ok(),
    );
    let _alertmanager = Services::alertmanager(workspace, alertmanager, by_alertmanager.address())?;
    let told = until("the Alertmanager tells", LIMIT, || Ok(told(&by_alertmanager)));
    judge("the Alertmanager, once it is there, is told, and tells", told.is_ok());
    let lost = ["alertmanager", "webhook"].map(|target| counted(target, "lost"));
    let delivered = some(counted("alertmanager", "delivered")).is_some();
    judge("and nothing was lost", delivered && lost == [Some(0.0), Some(0.0)]);
    Ok(tally)
}

/// Reads the daemon's own count of notices to this target with this outcome.
fn notices(daemon: SocketAddr, target: &str, outcome: &str) -> Option<f64> {
    let page = http::get(daemon, "/metrics", Duration::from_secs(5)).ok()?.body;
    let series = format!("netqueue_spike_notices_total{{outcome=\"{outcome}\",target=\"{target}\"}} ");
    page.lines().find_map(|line| line.strip_prefix(&series))?.parse().ok()
}
