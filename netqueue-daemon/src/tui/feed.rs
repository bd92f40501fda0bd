//! Asks the daemon at a steady pace, and tells what came of it.

use std::time::{Duration, Instant};

use tokio::{sync::mpsc, time::MissedTickBehavior};

use crate::client::{
    Client, ClientError, Query,
    model::{Event, Events, Listener, Listeners, Status},
};

/// One look at the daemon.
#[derive(Clone, Debug)]
pub(super) struct Look {
    pub(super) status: Status,
    pub(super) warnings: Vec<String>,
    pub(super) listeners: Vec<Listener>,
    /// Newest first.
    pub(super) events: Vec<Event>,
}

/// What came of asking, and when.
pub(super) type News = (Instant, Result<Box<Look>, ClientError>);

/// The newest events that are shown; more would not fit any screen.
const EVENTS: usize = 100;

/// `--interval`.
pub(super) fn period(text: &str) -> Result<Duration, String> {
    let seconds = text.parse::<f64>().ok().filter(|seconds| (0.2..=60.0).contains(seconds));
    seconds.map(Duration::from_secs_f64).ok_or_else(|| "expected seconds from 0.2 to 60".to_owned())
}

/// Looks every `period` until nobody listens any more. A daemon that is slow is asked less often.
pub(super) async fn run(client: Client, period: Duration, news: mpsc::Sender<News>) {
    let mut ticks = tokio::time::interval(period);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let look = look(&client).await.map(Box::new);
        if news.send((Instant::now(), look)).await.is_err() {
            return;
        }
    }
}

async fn look(client: &Client) -> Result<Look, ClientError> {
    let events = Query::new("/api/v1/events").with("limit", Some(EVENTS));
    let (listeners, status, events) = (
        client.get::<Listeners>(&Query::new("/api/v1/listeners")).await?,
        client.get::<Status>(&Query::new("/api/v1/status")).await?,
        client.get::<Events>(&events).await?,
    );
    Ok(Look {
        status: status.envelope.data,
        warnings: status.envelope.warnings,
        listeners: listeners.envelope.data.listeners,
        events: events.envelope.data.events,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interval_that_would_flood_or_freeze_is_refused() {
        assert_eq!(period("0.5"), Ok(Duration::from_millis(500)));
        for wrong in ["0", "0.1", "61", "nan", "-1", "soon"] {
            assert!(period(wrong).is_err(), "{wrong}");
        }
    }
}
