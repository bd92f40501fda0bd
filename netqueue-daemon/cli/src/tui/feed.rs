//! Polls the daemon at a steady pace, follows its event stream, and reports both to the screen.

use netqueue_api::{Diagnosis, Event, Events, Listener, Listeners, Spike, Status, Verdict};
use std::time::{Duration, Instant};

use tokio::{sync::mpsc, time::MissedTickBehavior};

use crate::client::{Client, ClientError, Query, Stream};

/// The answers of one poll of the daemon.
#[derive(Clone, Debug)]
pub(super) struct Look {
    pub(super) status: Status,
    pub(super) warnings: Vec<String>,
    pub(super) listeners: Vec<Listener>,
    /// Newest first.
    pub(super) events: Vec<Event>,
    /// Most harmful to clients first.
    pub(super) verdicts: Vec<Verdict>,
    /// Spikes of drops that still go on.
    pub(super) spikes: Vec<Spike>,
}

/// A report to the screen.
#[derive(Debug)]
pub(super) enum News {
    /// The time and the result of one poll.
    Look(Instant, Result<Box<Look>, ClientError>),
    /// New events, oldest first.
    Events(Vec<Event>),
}

/// Maximum number of events shown; more would not fit any screen.
pub(super) const EVENTS: usize = 100;
/// Time for which events are batched, so that a flood of them does not redraw the screen each time.
const GATHERED: Duration = Duration::from_millis(100);
/// Pause before an ended stream is reopened; polls deliver the events of the meantime.
const PAUSE: Duration = Duration::from_secs(2);

/// Parses `--interval`.
pub(super) fn period(text: &str) -> Result<Duration, String> {
    let seconds = text.parse::<f64>().ok().filter(|seconds| (0.2..=60.0).contains(seconds));
    seconds.map(Duration::from_secs_f64).ok_or_else(|| "expected seconds from 0.2 to 60".to_owned())
}

/// Polls every `period` until the receiver is dropped.
/// A slow daemon is polled less often: a missed tick delays the next ones.
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
        // A daemon of a version without verdicts.
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

/// Follows the event stream until the receiver is dropped.
/// Errors are ignored, because polls report them as well.
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

/// Batches the events of the next [`GATHERED`] in which any arrive; `None` if the stream ended.
async fn gather(stream: &mut Stream) -> Result<Option<Vec<Event>>, ClientError> {
    let mut events = Vec::new();
    let Some(mut messages) = stream.next().await? else { return Ok(None) };
    let until = tokio::time::Instant::now() + GATHERED;
    loop {
        let told = messages.iter().filter(|message| matches!(message.event.as_str(), "drop" | "reset"));
        events.extend(told.filter_map(|message| serde_json::from_str::<Event>(&message.data).ok()));
        // Keep no more events than the screen shows.
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
