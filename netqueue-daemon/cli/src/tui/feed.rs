//! Asks the daemon at a steady pace, follows its events as they come, and tells what came of it.

use netqueue_api::{Diagnosis, Event, Events, Listener, Listeners, Spike, Status, Verdict};
use std::time::{Duration, Instant};

use tokio::{sync::mpsc, time::MissedTickBehavior};

use crate::client::{Client, ClientError, Query, Stream};

/// One look at the daemon.
#[derive(Clone, Debug)]
pub(super) struct Look {
    pub(super) status: Status,
    pub(super) warnings: Vec<String>,
    pub(super) listeners: Vec<Listener>,
    /// Newest first.
    pub(super) events: Vec<Event>,
    /// The worst for clients first.
    pub(super) verdicts: Vec<Verdict>,
    /// Sudden rises of drops that go on.
    pub(super) spikes: Vec<Spike>,
}

/// What there is to tell.
#[derive(Debug)]
pub(super) enum News {
    /// What came of a look, and when.
    Look(Instant, Result<Box<Look>, ClientError>),
    /// Events as they came, oldest first.
    Events(Vec<Event>),
}

/// The newest events that are shown; more would not fit any screen.
pub(super) const EVENTS: usize = 100;
/// Events are gathered for so long, so that a flood of them is not a flood of drawings.
const GATHERED: Duration = Duration::from_millis(100);
/// After a stream that ended. Looks tell of events meanwhile.
const PAUSE: Duration = Duration::from_secs(2);

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
        if news.send(News::Look(Instant::now(), look)).await.is_err() {
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
    let (verdicts, mut spikes) = match client.get::<Diagnosis>(&Query::new("/api/v1/diagnosis")).await {
        Ok(answer) => (answer.envelope.data.verdicts, answer.envelope.data.spikes),
        // A daemon that does not judge yet.
        Err(ClientError::Version { .. }) => (Vec::new(), Vec::new()),
        Err(error) => return Err(error),
    };
    spikes.retain(|spike| spike.active);
    Ok(Look {
        status: status.envelope.data,
        warnings: status.envelope.warnings,
        listeners: listeners.envelope.data.listeners,
        events: events.envelope.data.events,
        verdicts,
        spikes,
    })
}

/// Follows the events until nobody listens any more. Whatever goes wrong shows in the looks as well.
pub(super) async fn follow(client: Client, news: mpsc::Sender<News>) {
    let query = Query::new("/api/v1/events/stream");
    while !news.is_closed() {
        if let Ok(mut stream) = client.stream(&query, None).await {
            while let Ok(Some(events)) = gather(&mut stream).await {
                if !events.is_empty() && news.send(News::Events(events)).await.is_err() {
                    return;
                }
            }
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// The events of the next moment in which any came; `None` when the stream ended.
async fn gather(stream: &mut Stream) -> Result<Option<Vec<Event>>, ClientError> {
    let mut events = Vec::new();
    let Some(mut messages) = stream.next().await? else { return Ok(None) };
    let until = tokio::time::Instant::now() + GATHERED;
    loop {
        let told = messages.iter().filter(|message| matches!(message.event.as_str(), "drop" | "reset"));
        events.extend(told.filter_map(|message| serde_json::from_str::<Event>(&message.data).ok()));
        // No more are kept than are shown.
        events.drain(..events.len().saturating_sub(EVENTS));
        match tokio::time::timeout_at(until, stream.next()).await {
            Err(_) => return Ok(Some(events)),
            Ok(more) => match more? {
                Some(more) => messages = more,
                None => return Ok(Some(events)),
            },
        }
    }
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
