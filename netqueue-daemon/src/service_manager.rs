//! Notifications to the service manager (systemd's sd_notify), if there is one: ready, alive, stopping.

use std::{net::SocketAddr, time::Instant};

use sd_notify::NotifyState;

use crate::snapshots::Snapshots;

/// Reports that the daemon serves.
pub fn ready(address: SocketAddr) {
    tell(&[NotifyState::Ready, NotifyState::Status(&format!("attached; serving on {address}"))]);
}

/// Reports that the daemon is stopping.
pub fn stopping() {
    tell(&[NotifyState::Stopping]);
}

/// Feeds the watchdog, if one is set, whenever a new snapshot is published.
/// A daemon whose pipeline is stuck must not appear alive because some other task still is. Snapshots come
/// once a second, so this needs no timer of its own.
pub async fn keep_alive(mut snapshots: Snapshots) {
    let Some(limit) = sd_notify::watchdog_enabled() else { return std::future::pending().await };
    let mut fed = None::<Instant>;
    while snapshots.changed().await {
        // Three times in each limit: a single late snapshot does no harm.
        if fed.is_none_or(|fed| fed.elapsed() >= limit / 3) {
            tell(&[NotifyState::Watchdog]);
            fed = Some(Instant::now());
        }
    }
}

fn tell(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::debug!(%error, "the service manager cannot be told");
    }
}
