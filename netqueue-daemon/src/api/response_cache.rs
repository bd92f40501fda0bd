//! Cache of responses: equal requests on one snapshot share one response, serialised once.
//!
//! A response depends on its snapshot and its request alone, so a cached one equals the one that would be
//! serialised again. A client gets a fresh snapshot first: no response is older for being shared.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, OnceLock, PoisonError, Weak},
};

use axum::{extract::FromRequestParts, http::request::Parts};
use netqueue_domain::Snapshot;

use super::{
    answer::{Answer, Form},
    problem::Problem,
};

/// Snapshots whose responses are cached.
/// While clients of one are answered, others already request the next.
const SNAPSHOTS: usize = 2;
/// Distinct requests whose responses are cached for each snapshot.
const QUESTIONS: usize = 8;
/// Largest response in bytes that is cached.
/// A larger one is serialised for each request, to bound the memory of the cache.
const LARGEST: usize = 256 << 10;

/// Key of the cache: the request and the form of its response.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct CacheKey {
    /// Path and query as sent.
    /// Equal targets mean equal responses; different spellings of one request are cached apart.
    target: String,
    form: Form,
}

/// Responses for the newest snapshots that were requested.
#[derive(Clone, Debug, Default)]
pub(super) struct Answers(Arc<Mutex<Vec<CacheEntry>>>);

#[derive(Debug)]
struct CacheEntry {
    // A strong reference would force the aggregator to copy what it shares with the snapshot. The address is
    // not reused while this weak reference exists.
    of: Weak<Snapshot>,
    places: HashMap<CacheKey, CacheSlot>,
}

/// Cell for a response, which the first request fills.
type CacheSlot = Arc<OnceLock<Answer>>;

impl<S: Send + Sync> FromRequestParts<S> for CacheKey {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let form = Form::from_request_parts(parts, state).await?;
        Ok(Self { target: parts.uri.to_string(), form })
    }
}

impl Answers {
    /// Returns the response to `inquiry` on `snapshot`, which `write` makes from both unless it is cached.
    pub(super) fn once(
        &self,
        snapshot: &Arc<Snapshot>,
        inquiry: CacheKey,
        write: impl FnOnce(Form) -> Answer,
    ) -> Answer {
        let form = inquiry.form;
        let Some(place) = self.place(snapshot, &inquiry) else { return write(form) };
        // Equal requests meanwhile wait, which takes no longer than serialising it themselves.
        let answer = place.get_or_init(|| write(form)).clone();
        if answer.len() > LARGEST {
            self.clear(snapshot, &inquiry);
        }
        answer
    }

    /// Returns the cell for the response; `None` if enough others are cached.
    fn place(&self, snapshot: &Arc<Snapshot>, inquiry: &CacheKey) -> Option<CacheSlot> {
        let mut shelves = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let index = shelves.iter().position(|shelf| shelf.is_of(snapshot)).unwrap_or_else(|| {
            shelves.truncate(SNAPSHOTS - 1);
            shelves.insert(0, CacheEntry { of: Arc::downgrade(snapshot), places: HashMap::new() });
            0
        });
        let places = &mut shelves.get_mut(index)?.places;
        match places.get(inquiry) {
            Some(place) => Some(Arc::clone(place)),
            None if places.len() >= QUESTIONS => None,
            None => Some(Arc::clone(places.entry(inquiry.clone()).or_default())),
        }
    }

    fn clear(&self, snapshot: &Arc<Snapshot>, inquiry: &CacheKey) {
        let mut shelves = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        shelves.iter_mut().filter(|shelf| shelf.is_of(snapshot)).for_each(|shelf| {
            shelf.places.remove(inquiry);
        });
    }
}

impl CacheEntry {
    fn is_of(&self, snapshot: &Arc<Snapshot>) -> bool {
        std::ptr::eq(self.of.as_ptr(), Arc::as_ptr(snapshot))
    }
}

#[cfg(test)]
mod tests {
    use axum::{body::Body, http::Request};
    use tower::ServiceExt as _;

    use super::*;
    use crate::{
        api::tests::{at, drop_event, incident, json_of},
        snapshots,
    };
    use netqueue_domain::{Aggregator, AggregatorSettings, Netns, Timestamp};

    fn picture() -> Arc<Snapshot> {
        let start = Timestamp::default();
        Arc::new(Aggregator::new(AggregatorSettings::of(Netns::at_attach(1)), start).snapshot(start))
    }

    fn json(target: &str) -> CacheKey {
        CacheKey { target: target.to_owned(), form: Form::Json }
    }

    /// Returns whether the response had to be serialised.
    fn writes(answers: &Answers, snapshot: &Arc<Snapshot>, inquiry: CacheKey) -> bool {
        let mut written = false;
        let body = format!("{:p} {inquiry:?}", Arc::as_ptr(snapshot)).into_bytes();
        let expected = Answer::of(inquiry.form, body);
        let answer = answers.once(snapshot, inquiry, |_| {
            written = true;
            expected.clone()
        });
        assert_eq!(answer, expected);
        written
    }

    #[tokio::test(start_paused = true)]
    async fn a_page_of_events_shows_what_has_come_since_it_was_last_asked_for() {
        let mut queues = incident();
        let (publisher, snapshots) = snapshots::channel(queues.snapshot(at(10)));
        let router = crate::api::router(snapshots);
        let newest = async |limit: u32| {
            let request = Request::get(format!("/api/v1/events?limit={limit}")).body(Body::empty());
            let response = router.clone().oneshot(request.expect("a request")).await.expect("an answer");
            let page = json_of(response).await;
            let events = page["data"]["events"].as_array().expect("a list").clone();
            (events.len(), events[0]["seq"].as_u64())
        };
        assert_eq!(
            (newest(2).await, newest(2).await, newest(3).await),
            ((2, Some(4)), (2, Some(4)), (3, Some(4)))
        );
        queues.observe(drop_event(11, 1));
        // Same time, same counts: but for the event it equals the snapshot before.
        publisher.publish(Arc::new(queues.snapshot(at(10))));
        assert_eq!((newest(2).await, newest(3).await), ((2, Some(5)), (3, Some(5))));
    }

    #[test]
    fn the_same_asked_twice_is_written_once() {
        let (answers, snapshot) = (Answers::default(), picture());
        assert!(writes(&answers, &snapshot, json("/a")));
        assert!(!writes(&answers, &snapshot, json("/a")));
        assert!(!writes(&answers.clone(), &snapshot, json("/a")));
    }

    #[test]
    fn another_question_form_or_snapshot_has_an_answer_of_its_own() {
        let (answers, first, second) = (Answers::default(), picture(), picture());
        let lines = CacheKey { form: Form::Ndjson, ..json("/a") };
        for inquiry in [json("/a"), json("/a?limit=1"), lines] {
            assert!(writes(&answers, &first, inquiry.clone()), "{inquiry:?}");
            assert!(writes(&answers, &second, inquiry.clone()), "{inquiry:?}");
            assert!(!writes(&answers, &first, inquiry), "those who asked before are still being answered");
        }
    }

    #[test]
    fn a_snapshot_that_has_gone_is_not_taken_for_one_where_it_was() {
        let answers = Answers::default();
        for _ in 0..100 {
            assert!(writes(&answers, &picture(), json("/a")));
        }
        assert_eq!(answers.0.lock().expect("nobody panicked").len(), SNAPSHOTS);
    }

    #[test]
    fn what_is_kept_is_bounded_in_number_and_size() {
        let (answers, snapshot) = (Answers::default(), picture());
        for number in 0..100 {
            assert!(writes(&answers, &snapshot, json(&format!("/{number}"))));
        }
        assert!(!writes(&answers, &snapshot, json("/0")) && writes(&answers, &snapshot, json("/99")));
        let large = |answers: &Answers| {
            answers.once(&snapshot, json("/large"), |form| Answer::of(form, vec![0; LARGEST + 1]))
        };
        let answers = Answers::default();
        assert_eq!(large(&answers).len(), LARGEST + 1);
        assert!(answers.0.lock().expect("nobody panicked").iter().all(|shelf| shelf.places.is_empty()));
    }
}
