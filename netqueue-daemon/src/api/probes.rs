//! `/-/healthy` and `/-/ready`: liveness, and whether every required probe is attached.

use axum::extract::State;
use netqueue_domain::Snapshot;

use super::{Api, problem::Problem};

/// Liveness: answers as long as the process can.
pub(super) async fn healthy() -> &'static str {
    "netqueue is healthy.\n"
}

/// Readiness: 503 with the reason until every required probe is attached, and once the daemon stops.
pub(super) async fn ready(State(api): State<Api>) -> Result<&'static str, Problem> {
    let stopping = api.snapshots.are_ending().then(|| "the daemon stops".to_owned());
    match stopping.or_else(|| unready(&api.snapshots.latest())) {
        None => Ok("netqueue is ready.\n"),
        Some(reason) => Err(Problem::unavailable(format!("not ready: {reason}"))),
    }
}

/// Returns the reason why nothing can be relied on yet; `None` if ready.
fn unready(snapshot: &Snapshot) -> Option<String> {
    let probes = &snapshot.health.probes;
    if probes.is_empty() {
        return Some("no probe has been attached yet".to_owned());
    }
    let missing: Vec<_> = probes
        .iter()
        .filter(|probe| probe.required && !probe.attached)
        .map(|probe| {
            let why = probe.detail.as_deref().unwrap_or("no reason is known");
            format!("required probe {} on {} is not attached: {why}", probe.program, probe.function)
        })
        .collect();
    (!missing.is_empty()).then(|| missing.join("; "))
}
