//! `/api/v1/events`: single drops and resets, in pages.

use axum::extract::State;
use netqueue_api::{Envelope, Event, EventKind, Events, Peer, Problem as Refused};
use netqueue_domain::{self as domain, Snapshot, What};

use super::account_row::queue_from;
use super::{
    Api,
    answer::Answer,
    cursor::{self, Cursor, CursorPosition},
    event_filter::{Charged, EventFilter, charged},
    params::Params,
    problem::Problem,
    query::{EventQuery, PageQuery},
    response_cache::CacheKey,
};

/// Largest number of events in one page.
pub(super) const MOST: usize = 1000;

/// Single drops and resets
///
/// Newest first, in pages: `next` is the cursor of the following page. With `order=asc` and the cursor of the
/// last event seen, a client gets what has come since.
#[utoipa::path(get, path = "/api/v1/events", tag = "query", params(EventQuery, PageQuery), responses(
    (status = 200, description = "The events that match", content(
        (Envelope<Events> = "application/json"), (String = "application/x-ndjson"))),
    (status = 400, description = "A parameter is not what it should be", body = Refused, content_type = "application/problem+json"),
    (status = 406, description = "Neither JSON nor NDJSON is accepted", body = Refused, content_type = "application/problem+json"),
    (status = 503, description = "Too many requests are being answered", body = Refused, content_type = "application/problem+json"),
))]
pub(super) async fn get(
    State(api): State<Api>,
    inquiry: CacheKey,
    params: Params,
) -> Result<Answer, Problem> {
    let params = params.only(&[&EventFilter::PARAMS[..], &Page::PARAMS].concat())?;
    let (filter, page) = (EventFilter::from_params(&params)?, Page::from_params(&params)?);
    let snapshot = api.snapshots.fresh().await;
    Ok(api.answers.once(&snapshot, inquiry, |form| {
        let (events, warnings) = page.of(&snapshot, &filter);
        form.list(&snapshot, events, warnings)
    }))
}

/// Part of the matching events to return.
struct Page {
    limit: usize,
    cursor: Option<Cursor>,
    ascending: bool,
}

impl Page {
    const PARAMS: [&str; 3] = ["limit", "cursor", "order"];

    fn from_params(params: &Params) -> Result<Self, Problem> {
        let limit = params.get("limit", &format!("a number, 1 to {MOST}"), |limit| {
            limit.parse().ok().filter(|limit| (1..=MOST).contains(limit))
        })?;
        Ok(Self {
            limit: limit.unwrap_or(100),
            cursor: params.get("cursor", cursor::EXPECTED, Cursor::parse)?,
            ascending: params.one_of("order", &["desc", "asc"])? == Some("asc"),
        })
    }

    fn of(&self, snapshot: &Snapshot, filter: &EventFilter) -> (Events, Vec<String>) {
        let mut warnings = filter.remarks(snapshot);
        let from = self.cursor.and_then(|cursor| match cursor.place(snapshot) {
            CursorPosition::Here(seq) | CursorPosition::Earlier(seq) => Some(seq),
            CursorPosition::Unknown => {
                warnings.push("the cursor is from another run of the daemon: the page begins where one without a cursor does".to_owned());
                None
            }
        });
        let charged = charged(snapshot);
        let admitted = |(seq, event): &(u64, domain::Event)| filter.admits(&charged, *seq, event);
        let log = &snapshot.events;
        let mut found: Vec<_> = if self.ascending {
            log.after(from.unwrap_or(0)).filter(admitted).take(self.limit + 1).collect()
        } else {
            log.before(from.unwrap_or(u64::MAX), filter.earliest(snapshot))
                .filter(admitted)
                .take(self.limit + 1)
                .collect()
        };
        let more = found.len() > self.limit;
        found.truncate(self.limit);
        let last = found.last().map(|(seq, _)| Cursor::at(snapshot, *seq).to_string());
        // Cursor to continue from. With oldest first there is one at the end too, for events that arrive
        // later.
        let next = if more {
            last
        } else if self.ascending {
            last.or_else(|| self.cursor.map(|cursor| cursor.to_string()))
        } else {
            None
        };
        let reached_end = self.ascending || !more;
        let truncated_before =
            truncated(snapshot, filter, from.filter(|_| self.ascending)).filter(|_| reached_end);
        let events = found.iter().map(|(seq, event)| event_from(&charged, *seq, event)).collect();
        (Events { events, next, truncated_before }, warnings)
    }
}

/// Returns the number below which events were evicted that may have matched.
/// Only events after `from`, or since the start of the period, matter.
pub(super) fn truncated(snapshot: &Snapshot, filter: &EventFilter, from: Option<u64>) -> Option<u64> {
    if snapshot.events.evicted() == 0 {
        return None;
    }
    let (oldest, time) = snapshot.events.oldest().unwrap_or((snapshot.events.appended() + 1, snapshot.taken));
    let seen = from.is_some_and(|from| from + 1 >= oldest) || filter.earliest(snapshot) >= time;
    (!seen).then_some(oldest)
}

/// Converts an event to its API representation.
pub(super) fn event_from(charged: &Charged<'_>, seq: u64, event: &domain::Event) -> Event {
    let whom = charged.whom(seq, &event.account);
    let netns = event.account.netns();
    let time = charged.snapshot.wall_clock.show(event.time);
    Event {
        seq,
        time: time.to_rfc3339(),
        time_ns: time.as_nanos().to_string(),
        kind: match event.what {
            What::Drop(_) => EventKind::Drop,
            What::Reset(_) => EventKind::Reset,
        },
        listener: whom.id.map(|id| id.0.to_string()),
        netns: whom.netns.into_owned(),
        netns_inode: netns.inode,
        netns_generation: netns.generation,
        addr: event.account.addr(),
        port: Some(event.local_port),
        process: whom.process.to_owned(),
        peer: event.peer.map(|domain::Peer { addr, port }| Peer { addr, port }),
        stage: event.what.stage().map(str::to_owned),
        cause: event.what.cause().to_owned(),
        kernel_reason: event.kernel_reason.as_deref().map(str::to_owned),
        accept_queue: event.queues.accept.map(queue_from),
        syn_queue: event.queues.syn.map(queue_from),
        cpu: event.cpu,
        age_seconds: event.age.map(|age| age.as_secs_f64()),
    }
}
