//! What stands around every answer: how far it can be trusted, and what it is missing.

use axum::{
    Json,
    response::{IntoResponse, Response},
};
use serde::{Serialize, Serializer};

use crate::domain::{LossReason, QueueState, Snapshot};

/// A successful answer.
#[derive(Serialize)]
pub(super) struct Envelope<T> {
    status: &'static str,
    data: T,
    warnings: Vec<String>,
    coverage: Coverage,
}

/// The window of events that is held, and what is missing in it.
#[derive(Serialize)]
struct Coverage {
    since: String,
    events_held: u64,
    events_evicted: u64,
    events_suppressed: u64,
    events_lost: u64,
}

impl<T: Serialize> Envelope<T> {
    /// `data`, taken from `snapshot`; `warnings` are added to those the snapshot itself gives rise to.
    pub(super) fn of(snapshot: &Snapshot, data: T, warnings: impl IntoIterator<Item = String>) -> Self {
        let warnings = health_warnings(snapshot).into_iter().chain(warnings).collect();
        Self { status: "success", data, warnings, coverage: Coverage::of(snapshot) }
    }
}

impl<T: Serialize> IntoResponse for Envelope<T> {
    fn into_response(self) -> Response {
        Json(self).into_response()
    }
}

impl Coverage {
    fn of(snapshot: &Snapshot) -> Self {
        let events = &snapshot.events;
        let oldest_held = events.newest_first().last().map(|(_, event)| event.time);
        let since = match oldest_held {
            Some(oldest) if events.evicted() > 0 => oldest,
            Some(_) | None => snapshot.attached,
        };
        Self {
            since: since.to_rfc3339(),
            events_held: events.len() as u64,
            events_evicted: events.evicted(),
            events_suppressed: snapshot.health.flow.suppressed,
            events_lost: snapshot.health.flow.lost.iter().sum(),
        }
    }
}

fn health_warnings(snapshot: &Snapshot) -> Vec<String> {
    let probes = snapshot.health.probes.iter().filter(|probe| !probe.attached).map(|probe| {
        let why = probe.detail.as_deref().unwrap_or("no reason is known");
        format!("probe {} on {} is not attached: {why}", probe.program, probe.function)
    });
    let losses = LossReason::ALL.into_iter().filter_map(|reason| {
        let lost = snapshot.health.flow.lost(reason);
        let what = match reason {
            LossReason::RingFull | LossReason::Undecodable => "events are missing, counts are exact",
            LossReason::QueuedForgotten => "so many connections are missing among the accepted ones",
            LossReason::Unreadable
            | LossReason::EntryMissed
            | LossReason::ReturnMissed
            | LossReason::WrongFrame
            | LossReason::MapFull => "charges may be missing, see the residuals at /api/v1/status",
        };
        (lost > 0).then(|| format!("{lost} lost ({}): {what}", reason.as_str()))
    });
    let untold = snapshot.health.flow.namespaces_untold;
    let untold = (untold > 0).then(|| {
        format!(
            "{untold} network namespaces have inode numbers too high to be told from others that have the number before or after \
             them: what they dropped is counted under one number"
        )
    });
    snapshot.health.warnings.iter().cloned().chain(probes).chain(losses).chain(untold).collect()
}

/// A queue as the API writes it.
#[derive(Serialize)]
pub(super) struct Queue {
    length: u32,
    limit: u32,
}

impl From<QueueState> for Queue {
    fn from(QueueState { length, limit }: QueueState) -> Self {
        Self { length, limit }
    }
}

/// Names and values, written as an object in their own order.
pub(super) struct ByName<T>(pub(super) Vec<(&'static str, T)>);

impl<T: Serialize> Serialize for ByName<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(name, value)| (name, value)))
    }
}
