//! Envelope of every response, and the two forms that a response can have.

use axum::{
    body::Bytes,
    extract::FromRequestParts,
    http::{
        HeaderName, HeaderValue, StatusCode,
        header::{ACCEPT, CONTENT_TYPE, VARY},
        request::Parts,
    },
    response::{IntoResponse, Response},
};
use netqueue_api::{Coverage, Envelope, Events, Gap, Listeners, Page, Peers, Series, Timeseries};
use netqueue_domain::Snapshot;
use serde::Serialize;

use super::{health_warnings::health_warnings, problem::Problem};

/// Form of a response.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Form {
    /// One JSON object.
    Json,
    /// One line for each item, and a last line with the envelope.
    Ndjson,
}

/// Response data that are a list, so that NDJSON has a line per item.
pub(super) trait Lines {
    type Item: Serialize;

    fn items(&self) -> &[Self::Item];

    fn next(&self) -> Option<&str> {
        None
    }
}

impl Lines for Listeners {
    type Item = netqueue_api::Listener;

    fn items(&self) -> &[Self::Item] {
        &self.listeners
    }
}

impl Lines for Events {
    type Item = netqueue_api::Event;

    fn items(&self) -> &[Self::Item] {
        &self.events
    }

    fn next(&self) -> Option<&str> {
        self.next.as_deref()
    }
}

impl Lines for Peers {
    type Item = netqueue_api::PeerCount;

    fn items(&self) -> &[Self::Item] {
        &self.peers
    }
}

impl Lines for Timeseries {
    type Item = Series;

    fn items(&self) -> &[Self::Item] {
        &self.series
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Form {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Problem> {
        let accepted: Vec<_> =
            parts.headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok()).collect();
        form(&accepted.join(","))
    }
}

/// Returns the first form that `accept` lists; of the quality values only 0 has an effect.
fn form(accept: &str) -> Result<Form, Problem> {
    if accept.trim().is_empty() {
        return Ok(Form::Json);
    }
    let ranges = accept.split(',').map(|range| range.trim().to_ascii_lowercase().replace(' ', ""));
    let wanted = ranges.filter(|range| !range.ends_with(";q=0") && !range.ends_with(";q=0.0"));
    let form = wanted.filter_map(|range| match range.split(';').next()? {
        "application/json" | "application/*" | "*/*" => Some(Form::Json),
        "application/x-ndjson" | "application/jsonl" => Some(Form::Ndjson),
        _ => None,
    });
    form.into_iter().next().ok_or_else(|| Problem::not_acceptable(accept))
}

/// Serialised response, which may be sent to several clients.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Answer {
    code: StatusCode,
    content_type: &'static str,
    body: Bytes,
}

impl Form {
    /// Serialises a list in this form.
    pub(super) fn list<T: Lines + Serialize>(
        self,
        snapshot: &Snapshot,
        data: T,
        warnings: Vec<String>,
    ) -> Answer {
        let envelope = envelope(snapshot, data, warnings);
        Answer::written(
            self,
            match self {
                Self::Json => serde_json::to_vec(&envelope),
                Self::Ndjson => lines(envelope),
            },
        )
    }

    /// Serialises anything else; as NDJSON it is one line.
    pub(super) fn one<T: Serialize>(self, snapshot: &Snapshot, data: T, warnings: Vec<String>) -> Answer {
        Answer::written(self, serde_json::to_vec(&envelope(snapshot, data, warnings)))
    }

    const fn content_type(self) -> &'static str {
        match self {
            Self::Json => "application/json",
            Self::Ndjson => "application/x-ndjson",
        }
    }
}

impl Answer {
    /// Response with this body in this form.
    pub(super) fn of(form: Form, body: Vec<u8>) -> Self {
        Self { code: StatusCode::OK, content_type: form.content_type(), body: body.into() }
    }

    fn written(form: Form, body: serde_json::Result<Vec<u8>>) -> Self {
        match body {
            Ok(body) => Self::of(form, body),
            Err(error) => Self {
                code: StatusCode::INTERNAL_SERVER_ERROR,
                content_type: "text/plain",
                body: error.to_string().into(),
            },
        }
    }

    /// Length of the body in bytes.
    pub(super) fn len(&self) -> usize {
        self.body.len()
    }
}

impl IntoResponse for Answer {
    fn into_response(self) -> Response {
        let headers: [(HeaderName, HeaderValue); 2] = [
            (CONTENT_TYPE, HeaderValue::from_static(self.content_type)),
            (VARY, HeaderValue::from_static("accept")),
        ];
        (self.code, headers, self.body).into_response()
    }
}

fn lines<T: Lines>(envelope: Envelope<T>) -> serde_json::Result<Vec<u8>> {
    let Envelope { data, warnings, coverage, .. } = envelope;
    let page = Page { warnings, coverage, next: data.next().map(str::to_owned) };
    let mut body = Vec::new();
    for item in data.items() {
        serde_json::to_writer(&mut body, item)?;
        body.push(b'\n');
    }
    serde_json::to_writer(&mut body, &page)?;
    body.push(b'\n');
    Ok(body)
}

fn envelope<T>(snapshot: &Snapshot, data: T, warnings: Vec<String>) -> Envelope<T> {
    let warnings = health_warnings(snapshot).into_iter().chain(warnings).collect();
    Envelope { status: "success".to_owned(), data, warnings, coverage: coverage(snapshot) }
}

/// Describes the period for which events are kept, and what is missing from it.
pub(super) fn coverage(snapshot: &Snapshot) -> Coverage {
    let events = &snapshot.events;
    let since = match events.oldest() {
        Some((_, oldest)) if events.evicted() > 0 || events.before_this_run() > 0 => oldest,
        Some(_) | None => snapshot.attached,
    };
    Coverage {
        since: snapshot.wall_clock.rfc3339(since),
        taken: snapshot.wall_clock.rfc3339(snapshot.taken),
        events_held: events.len() as u64,
        events_evicted: events.evicted(),
        events_suppressed: snapshot.health.flow.suppressed,
        events_lost: snapshot.health.flow.lost.iter().sum(),
        gaps: gaps(snapshot),
    }
}

/// Returns the times when netqueue did not run, as far back as its event log reaches.
fn gaps(snapshot: &Snapshot) -> Vec<Gap> {
    let events = &snapshot.events;
    let (oldest, _) = events.oldest().unwrap_or((u64::MAX, snapshot.taken));
    let runs = events.earlier().runs();
    let began = runs.iter().skip(1).map(|run| run.began).chain([snapshot.attached]);
    // Events before the oldest one are gone anyway, so gaps among them are irrelevant.
    let held = runs
        .iter()
        .zip(began)
        .filter(|(run, _)| run.last + 1 >= oldest || run.last >= events.before_this_run());
    held.map(|(run, began)| Gap {
        since: snapshot.wall_clock.rfc3339(run.wrote),
        until: snapshot.wall_clock.rfc3339(began),
        after: run.last,
        reason: if run.ended { "stopped" } else { "killed" }.to_owned(),
    })
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_gets_the_form_it_names_or_is_told_which_there_are() {
        for (accept, expected) in [
            ("", Form::Json),
            ("*/*", Form::Json),
            ("text/html, application/xhtml+xml, */*;q=0.8", Form::Json),
            ("application/x-ndjson", Form::Ndjson),
            ("application/x-ndjson, application/json;q=0.5", Form::Ndjson),
            ("application/json, application/x-ndjson", Form::Json),
        ] {
            assert_eq!(form(accept).expect("it is one of both"), expected, "{accept}");
        }
        assert!(form("text/csv").is_err() && form("application/json;q=0").is_err());
    }
}
