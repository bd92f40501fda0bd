//! What the service manager is told (systemd's sd_notify), where there is one: ready, alive, stopping.

use std::{net::SocketAddr, time::Duration};

use sd_notify::NotifyState;

use crate::{domain::Timestamp, snapshots::Snapshots};

/// The daemon serves.
pub fn ready(address: SocketAddr) {
    tell(&[NotifyState::Ready, NotifyState::Status(&format!("attached; serving on {address}"))]);
}

/// The daemon was told to stop.
pub fn stopping() {
    tell(&[NotifyState::Stopping]);
}

/// Feeds the watchdog, where one is set, for as long as new pictures come out: a daemon whose pipeline is stuck must not
/// look alive because some other task still is.
pub async fn keep_alive(snapshots: Snapshots) {
    let Some(limit) = sd_notify::watchdog_enabled() else { return std::future::pending().await };
    // Three times in each limit: a single late one does no harm.
    let period = (limit / 3).max(Duration::from_millis(100));
    let mut progress = Progress::default();
    loop {
        tokio::time::sleep(period).await;
        if progress.is_made(snapshots.latest().taken) {
            tell(&[NotifyState::Watchdog]);
        } else {
            tracing::warn!("no new picture since the watchdog was last fed");
        }
    }
}

/// Whether pictures get newer.
#[derive(Debug, Default)]
struct Progress(Option<Timestamp>);

impl Progress {
    fn is_made(&mut self, taken: Timestamp) -> bool {
        self.0.replace(taken) != Some(taken)
    }
}

fn tell(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::debug!(%error, "the service manager cannot be told");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_old_picture_is_no_progress() {
        let mut progress = Progress::default();
        let seen = [1, 2, 2, 2, 3].map(|nanos| progress.is_made(Timestamp::from_nanos(nanos)));
        assert_eq!(seen, [true, true, false, false, true]);
    }
}
