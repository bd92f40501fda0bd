//! What the service manager is told (systemd's sd_notify), where there is one: ready, alive, stopping.

use std::{net::SocketAddr, time::Instant};

use sd_notify::NotifyState;

use crate::snapshots::Snapshots;

/// The daemon serves.
pub fn ready(address: SocketAddr) {
    tell(&[NotifyState::Ready, NotifyState::Status(&format!("attached; serving on {address}"))]);
}

/// The daemon was told to stop.
pub fn stopping() {
    tell(&[NotifyState::Stopping]);
}

/// Feeds the watchdog, where one is set, when new pictures come out: a daemon whose pipeline is stuck must not look alive
/// because some other task still is. Pictures come once a second, so that no timer has to wake anybody for it.
pub async fn keep_alive(mut snapshots: Snapshots) {
    let Some(limit) = sd_notify::watchdog_enabled() else { return std::future::pending().await };
    let mut fed = None::<Instant>;
    while snapshots.changed().await {
        // Three times in each limit: a single late one does no harm.
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
