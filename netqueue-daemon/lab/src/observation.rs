//! Snapshots of netqueue's answers about one network namespace, and their differences.

use std::collections::HashSet;

use anyhow::{Context, Result};
use serde::de::DeserializeOwned;

use netqueue_api::{
    AccountKind, Envelope, Event, Events, Listener, Listeners, Probe, Reconciliation, Status,
};

use super::client::Server;
use super::counters::Counters;

/// Maximum number of events to fetch, more than any experiment needs.
const EVENTS: usize = 1000;

/// All of netqueue's answers about one namespace.
#[derive(Clone, Debug, Default)]
pub(super) struct Observation {
    pub rows: Vec<Listener>,
    /// Newest first.
    pub events: Vec<Event>,
    /// The namespace's row of the reconciliation in netqueue's status.
    pub reconciliation: Option<Reconciliation>,
    /// Warnings of the daemon about its own answer.
    pub warnings: Vec<String>,
}

impl Observation {
    /// Queries the daemon about the namespace that has the inode number now, or had it last.
    pub(super) fn of(server: &Server, netns: u64) -> Result<Self> {
        let rows = reconciliation(server)?.into_iter().filter(|row| u64::from(row.netns_inode) == netns);
        let newest = rows.max_by_key(|row| row.netns_generation);
        // An earlier one may have left a thousand rows, which are slow to read and never needed.
        let name =
            newest.as_ref().map_or(netns.to_string(), |row| format!("{netns}.{}", row.netns_generation));
        Self::named(server, &name, newest)
    }

    /// Queries the daemon about all namespaces that have had the inode number.
    pub(super) fn of_all(server: &Server, netns: u64) -> Result<Self> {
        Self::named(server, &netns.to_string(), None)
    }

    fn named(server: &Server, netns: &str, reconciliation: Option<Reconciliation>) -> Result<Self> {
        let listeners: Envelope<Listeners> = server.ask(&format!("/api/v1/listeners?netns={netns}"))?;
        let events: Envelope<Events> = server.ask(&format!("/api/v1/events?netns={netns}&limit={EVENTS}"))?;
        let warnings = listeners.warnings.clone();
        Ok(Self { rows: listeners.data.listeners, events: events.data.events, reconciliation, warnings })
    }

    /// Computes the difference from `earlier`.
    /// The inode number may have belonged to a namespace that is gone, whose counts do not belong here.
    pub(super) fn since(&self, earlier: &Self) -> Self {
        // Listeners that were closed long ago are folded into one row, which contains the counts of vanished
        // rows.
        let vanished = earlier.rows.iter().filter(|old| !self.rows.iter().any(|row| row.id == old.id));
        let vanished: Vec<_> = vanished.collect();
        let rows = self.rows.iter().filter_map(|row| {
            let old = earlier.rows.iter().find(|old| old.id == row.id);
            let mut new = old.map_or_else(|| row.clone(), |old| row.since(old));
            if row.kind == AccountKind::Gone {
                let mine = vanished.iter().filter(|old| old.netns == row.netns);
                new = mine.fold(new, |new, old| new.since(old));
            }
            // A listener that netqueue found before `earlier` is no less there than one that it found since.
            let listens = row.kind == AccountKind::Listener && row.closed.is_none();
            let is_new = old.is_none() && row.kind != AccountKind::Gone;
            (listens || is_new || new.counted_anything()).then_some(new)
        });
        let last = earlier.events.iter().map(|event| event.seq).max();
        let new = |event: &&Event| last.is_none_or(|last| event.seq > last);
        Self {
            rows: rows.collect(),
            events: self.events.iter().filter(new).cloned().collect(),
            reconciliation: self.reconciliation.clone(),
            warnings: self.warnings.clone(),
        }
    }

    /// Sums the counters of all rows.
    pub(super) fn sum(&self) -> Counters {
        Counters::from_fn(|counter| self.rows.iter().map(|row| row.counter(counter.as_str())).sum())
    }
}

/// Fetches the reconciliation of every namespace.
pub(super) fn reconciliation(server: &Server) -> Result<Vec<Reconciliation>> {
    server.ask::<Status>("/api/v1/status").map(|answer| answer.data.reconciliation)
}

/// Fetches the namespaces of living and past listeners, by inode number and generation.
pub(super) fn namespaces_of_listeners(server: &Server) -> Result<HashSet<(u64, u64)>> {
    let rows = server.ask::<Listeners>("/api/v1/listeners")?.data.listeners;
    Ok(rows.iter().map(|row| (row.netns_inode.into(), row.netns_generation.into())).collect())
}

/// Fetches the rows of one namespace.
pub(super) fn rows(server: &Server, netns: u64) -> Result<Vec<Listener>> {
    let path = format!("/api/v1/listeners?netns={netns}");
    server.ask::<Listeners>(&path).map(|answer| answer.data.listeners)
}

/// Returns whether netqueue has an event of a drop at this port.
pub(super) fn any_drop(server: &Server, netns: u64, port: u16) -> Result<bool> {
    let path = format!("/api/v1/events?netns={netns}&port={port}&kind=drop&limit=1");
    let events: Envelope<Events> = server.ask(&path)?;
    Ok(!events.data.events.is_empty())
}

/// Verifies that netqueue answers at the address.
pub(super) fn greet(server: &Server) -> Result<()> {
    server.ask::<serde_json::Value>("/api/v1/status").map(drop).with_context(|| {
        format!(
            "no netqueue daemon answers at {}: start it, name its address with --server, or see only what the kernel counts \
             with --no-daemon",
            server.address()
        )
    })
}

/// Fetches the daemon's report of its own losses, for the report of a failure.
pub(super) fn losses(server: &Server) -> Result<String> {
    let status: Envelope<serde_json::Value> = server.ask("/api/v1/status")?;
    let probes: Vec<Probe> = serde_json::from_value(status.data["probes"].clone())?;
    let skipped = probes.iter().filter_map(|probe| {
        let missed = probe.missed.filter(|&missed| missed > 0)?;
        Some(format!("{} ({}, {}): {missed}", probe.program, probe.at, probe.mode))
    });
    let skipped = format!("skipped runs since attach: {}", skipped.collect::<Vec<_>>().join(", "));
    let parts = ["mode", "events", "reconciliation"].map(|key| format!("{key} {}", status.data[key]));
    let parts: Vec<String> = std::iter::once(skipped).chain(parts).collect();
    Ok(parts.join(", "))
}

/// Fetches the fields of the daemon's status that `T` names.
pub(super) fn status<T: DeserializeOwned>(server: &Server) -> Result<T> {
    server.ask("/api/v1/status").map(|answer| answer.data)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::counters::Counter;
    use crate::samples::{event, row};

    #[test]
    fn only_what_is_new_counts_where_an_inode_is_used_again() {
        let closed = Listener { closed: Some("2026-01-01T00:00:01Z".to_owned()), ..row("7", 8001, 40) };
        let earlier = Observation {
            rows: vec![closed.clone(), row("8", 8001, 8), row("6", 8003, 0)],
            events: vec![event(5, 8001, "127.0.0.1:1")],
            ..Default::default()
        };
        let now = Observation {
            rows: vec![closed, row("8", 8001, 9), row("9", 8002, 3), row("6", 8003, 0)],
            events: vec![event(6, 8002, "127.0.0.1:2"), event(5, 8001, "127.0.0.1:1")],
            ..Default::default()
        };
        let new = now.since(&earlier);
        assert_eq!(new.sum().get(Counter::ListenDrops), 1 + 3);
        let ids: Vec<_> = new.rows.iter().map(|row| row.id.as_str()).collect();
        assert_eq!(ids, ["8", "9", "6"], "one that is gone is no second listener of its address");
        assert_eq!(new.rows[0].drops.by_cause[0].count, 1);
        assert_eq!(new.events.len(), 1);
    }
}
