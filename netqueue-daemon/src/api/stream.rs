//! `/api/v1/events/stream`: events as they occur, as server-sent events.
//!
//! A stream reads the event log like any query, at its own pace, and nothing is queued for it. A client that
//! falls behind misses the events evicted meanwhile and gets a message about them; others are not affected.

use std::{collections::BTreeSet, convert::Infallible, sync::Arc, time::Duration};

use axum::{
    body::{Body, Bytes},
    extract::State,
    http::{
        HeaderMap,
        header::{CACHE_CONTROL, CONTENT_TYPE},
    },
    response::{IntoResponse, Response},
};
use futures_util::{Stream, stream};
use netqueue_api::{Ended, Lost, Problem as Refused};
use netqueue_domain::{LossReason, Snapshot};
use serde::Serialize;
use tokio::{
    sync::OwnedSemaphorePermit,
    time::{Instant, timeout_at},
};

use super::events::event_from;
use super::spikes::spike_from;
use super::{
    Api,
    cursor::{self, Cursor, CursorPosition},
    event_filter::{EventFilter, charged},
    messages::Messages,
    params::Params,
    problem::Problem,
    query::{EventQuery, StreamQuery},
};
use crate::snapshots::Live;

/// Streams that may be open at once.
pub(super) const SUBSCRIBERS: usize = 32;
/// Events processed before other tasks get their turn.
const TURN: usize = 1000;
/// Time without a read after which a client is disconnected.
const PATIENCE: Duration = Duration::from_secs(15);
/// Time in which a client that is behind gets the rest before a stream ends because the daemon stops.
/// Well below the server's limit for requests in progress; a client resumes where its stream ended.
const REST: Duration = Duration::from_secs(2);
/// Interval of comments while there are no messages.
const HEARTBEAT: Duration = Duration::from_secs(10);

/// Events as they occur
///
/// Server-sent events: `event: drop` and `event: reset` with an event as data; `event: lost` with the number
/// of events that this client did not get and the reason; `event: spike_started` and `event: spike_ended`
/// with a spike as data; `event: end` with the reason before the stream ends. Spikes that are active when the
/// stream begins are included; no spikes are sent if the parameters filter by something that only single
/// events have. Ids resume a stream, by `Last-Event-ID` or `cursor`. A comment is sent every 10 seconds while
/// there is nothing else.
#[utoipa::path(get, path = "/api/v1/events/stream", tag = "query", params(EventQuery, StreamQuery), responses(
    (status = 200, description = "The stream", body = String, content_type = "text/event-stream"),
    (status = 400, description = "A parameter is not what it should be", body = Refused, content_type = "application/problem+json"),
    (status = 503, description = "As many streams as there may be are open", body = Refused, content_type = "application/problem+json"),
))]
pub(super) async fn get(
    State(api): State<Api>,
    headers: HeaderMap,
    params: Params,
) -> Result<Response, Problem> {
    let params = params.only(&[&EventFilter::PARAMS[..], &["cursor"]].concat())?;
    let filter = EventFilter::from_params(&params)?;
    let cursor = params.get("cursor", cursor::EXPECTED, Cursor::parse)?;
    let last = headers.get("last-event-id").and_then(|id| id.to_str().ok()).filter(|id| !id.is_empty());
    // A client may have stored any id; refusing one that it does not interpret itself would not help it.
    let cursor = last.map_or(cursor, |id| Cursor::parse(id).or(Some(Cursor { run: 0, seq: 0 })));
    let Ok(place) = Arc::clone(&api.streams).try_acquire_owned() else {
        return Err(Problem::unavailable(format!(
            "{SUBSCRIBERS} streams are open, which is as many as there may be: close one, or poll /api/v1/events"
        )));
    };
    let subscriber = Subscriber::new(api.snapshots.live(), filter, cursor, place);
    let headers = [(CONTENT_TYPE, "text/event-stream"), (CACHE_CONTROL, "no-cache")];
    Ok((headers, Body::from_stream(frames(subscriber))).into_response())
}

fn frames(subscriber: Subscriber) -> impl Stream<Item = Result<Bytes, Infallible>> {
    stream::unfold(subscriber, |mut subscriber| async move {
        let frame = subscriber.next().await?;
        Some((Ok(frame), subscriber))
    })
}

struct Subscriber {
    live: Live,
    filter: EventFilter,
    /// Sequence number of the newest event processed.
    last: u64,
    /// Losses reported so far, by reason.
    lost: [u64; LossReason::ALL.len()],
    ready: Messages,
    /// Active spikes that were reported to the client.
    spikes: BTreeSet<u64>,
    /// Id of the newest spike seen.
    newest_spike: u64,
    /// Time when the client last took a frame.
    taken: Instant,
    /// Time when the daemon was first seen to stop.
    stopping: Option<Instant>,
    ended: bool,
    _place: OwnedSemaphorePermit,
}

impl Subscriber {
    fn new(live: Live, filter: EventFilter, cursor: Option<Cursor>, place: OwnedSemaphorePermit) -> Self {
        let snapshot = live.latest();
        let newest = snapshot.events.appended();
        let (last, restarted) = match cursor.map(|cursor| cursor.place(&snapshot)) {
            None => (newest, false),
            Some(CursorPosition::Here(seq)) => (seq.min(newest), false),
            // The event log on disk continues where that run ended, except for what may be lost at its end.
            Some(CursorPosition::Earlier(seq)) => (seq, true),
            // Everything kept is new to the client, and what it missed of that run is gone.
            Some(CursorPosition::Unknown) => (0, true),
        };
        let mut subscriber = Self {
            live,
            filter,
            last,
            lost: snapshot.health.flow.lost,
            ready: Messages::default(),
            spikes: BTreeSet::new(),
            newest_spike: snapshot.spikes.last().map_or(0, |spike| spike.id),
            taken: Instant::now(),
            stopping: None,
            ended: false,
            _place: place,
        };
        subscriber.ready.comment("netqueue");
        subscriber.ready.retry(2000);
        if restarted {
            subscriber.say(&snapshot, "lost", &Lost { events: None, reason: "restart".to_owned() });
        }
        subscriber.tell_spikes(&snapshot);
        subscriber
    }

    async fn next(&mut self) -> Option<Bytes> {
        // With messages pending, time elapses between the last take and now only while the client takes
        // nothing.
        let more = !self.ready.is_empty() || self.live.latest().events.appended() > self.last;
        if more && self.taken.elapsed() > PATIENCE {
            self.end("slow", "the client took nothing for 15 seconds");
        }
        loop {
            if self.live.is_ending() && self.stopping.get_or_insert_with(Instant::now).elapsed() > REST {
                self.stop();
            }
            if let Some(frame) = self.ready.take() {
                self.taken = Instant::now();
                return Some(frame);
            }
            if self.ended {
                return None;
            }
            let snapshot = self.live.latest();
            if snapshot.events.appended() <= self.last && snapshot.health.flow.lost == self.lost {
                self.tell_spikes(&snapshot);
                if self.ready.is_empty() {
                    match timeout_at(self.taken + HEARTBEAT, self.live.changed()).await {
                        Ok(true) => {}
                        Ok(false) => self.stop(),
                        Err(_elapsed) => self.ready.comment("heartbeat"),
                    }
                }
                continue;
            }
            self.look(&snapshot);
            tokio::task::yield_now().await;
        }
    }

    /// Appends messages for everything new.
    fn look(&mut self, snapshot: &Snapshot) {
        for reason in LossReason::ALL {
            let lost = snapshot.health.flow.lost(reason).saturating_sub(self.lost[reason as usize]);
            if lost > 0 {
                self.say(snapshot, "lost", &Lost { events: Some(lost), reason: reason.as_str().to_owned() });
            }
        }
        self.lost = snapshot.health.flow.lost;
        self.tell_spikes(snapshot);
        let charged = charged(snapshot);
        for (seq, event) in snapshot.events.after(self.last).take(TURN) {
            if seq > self.last + 1 {
                let evicted = Lost { events: Some(seq - self.last - 1), reason: "evicted".to_owned() };
                self.say(snapshot, "lost", &evicted);
            }
            self.last = seq;
            if self.filter.admits(&charged, seq, &event) {
                self.say(snapshot, event.what.kind(), &event_from(&charged, seq, &event));
            }
        }
    }

    /// Reports spikes that began or ended since the last call.
    fn tell_spikes(&mut self, snapshot: &Snapshot) {
        let mut over = std::mem::take(&mut self.spikes);
        let newest = self.newest_spike;
        for spike in snapshot.spikes.iter() {
            if !self.filter.admits_spike(snapshot, spike) {
                continue;
            }
            let told = over.remove(&spike.id);
            if spike.is_active() {
                self.spikes.insert(spike.id);
            }
            // A spike may begin and end between two calls; those that ended before the stream began are not
            // reported.
            let unheard = !told && (spike.is_active() || spike.id > newest);
            if unheard {
                self.say(snapshot, "spike_started", &spike_from(snapshot, spike));
            }
            if (told || unheard) && !spike.is_active() {
                self.say(snapshot, "spike_ended", &spike_from(snapshot, spike));
            }
            self.newest_spike = self.newest_spike.max(spike.id);
        }
    }

    fn say(&mut self, snapshot: &Snapshot, name: &str, data: &impl Serialize) {
        self.ready.say(name, Some(Cursor::at(snapshot, self.last)), data);
    }

    /// Ends the stream because the daemon stops, once.
    fn stop(&mut self) {
        if !self.ended {
            self.end("stopping", "the daemon stops");
        }
    }

    fn end(&mut self, reason: &str, detail: &str) {
        self.ready = Messages::default();
        let ended = Ended { reason: reason.to_owned(), detail: detail.to_owned() };
        self.ready.say("end", None, &ended);
        self.ended = true;
        self.taken = Instant::now();
    }
}
