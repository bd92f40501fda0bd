//! Tests of streams as clients follow them.

use std::{sync::Arc, time::Duration};

use axum::{
    body::Body,
    http::{Request, StatusCode},
    response::Response,
};
use http_body_util::BodyExt as _;
use netqueue_domain::{Aggregator, AggregatorSettings, EventFlow, Health, LossReason};
use serde_json::Value;
use tokio::time::timeout;
use tower::ServiceExt as _;

use super::tests::{HOST, at, drop_event, drops, reset_event, web};
use crate::snapshots::{self, Publisher, Snapshots};

/// Message: its name, id and data.
type Message = (String, String, Value);

/// Client of a stream, with the part it has received and not processed.
struct Follower {
    body: Body,
    unread: String,
}

impl Follower {
    /// Reads up to the next empty line; `None` at the end.
    async fn part(&mut self) -> Option<String> {
        while !self.unread.contains("\n\n") {
            let frame = timeout(Duration::from_secs(11), self.body.frame()).await.expect("in time")?;
            let data = frame.expect("whole").into_data().expect("data");
            self.unread += std::str::from_utf8(&data).expect("text");
        }
        let (part, rest) = self.unread.split_once("\n\n").expect("an empty line");
        let (part, rest) = (part.to_owned(), rest.to_owned());
        self.unread = rest;
        Some(part)
    }
}

struct Daemon {
    queues: Aggregator,
    publisher: Publisher,
    snapshots: Snapshots,
    router: axum::Router,
}

impl Daemon {
    fn start(event_memory: usize) -> Self {
        let queues =
            Aggregator::new(AggregatorSettings { event_memory, ..AggregatorSettings::of(HOST) }, at(0));
        let (publisher, snapshots) = snapshots::channel(queues.snapshot(at(0)));
        let router = super::router(snapshots.clone());
        Self { queues, publisher, snapshots, router }
    }

    fn publish(&mut self, second: u64) {
        self.publisher.publish(Arc::new(self.queues.snapshot(at(second))));
    }

    async fn ask(&self, query: &str, last: Option<&str>) -> Response {
        let mut request = Request::get(format!("/api/v1/events/stream?{query}"));
        if let Some(last) = last {
            request = request.header("Last-Event-ID", last);
        }
        self.router.clone().oneshot(request.body(Body::empty()).expect("a request")).await.expect("an answer")
    }

    async fn follow(&self, query: &str, last: Option<&str>) -> Follower {
        let response = self.ask(query, last).await;
        assert_eq!(response.status(), StatusCode::OK);
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        let mut follower = Follower { body: response.into_body(), unread: String::new() };
        // The greeting shows that the stream is open.
        assert_eq!(follower.part().await.as_deref(), Some(": netqueue"));
        assert_eq!(follower.part().await.as_deref(), Some("retry: 2000"));
        follower
    }
}

async fn next(follower: &mut Follower) -> Message {
    let text = follower.part().await.expect("a message");
    let field = |name: &str| {
        text.lines()
            .find_map(|line| line.strip_prefix(name))
            .map(|value| value.trim().to_owned())
            .unwrap_or_default()
    };
    let data = serde_json::from_str(&field("data:")).expect("JSON");
    (field("event:"), field("id:"), data)
}

#[tokio::test]
async fn events_come_as_they_happen_and_only_those_asked_for() {
    let mut daemon = Daemon::start(1 << 20);
    daemon.queues.observe(drop_event(1, 1));
    daemon.publish(1);
    let mut all = daemon.follow("", None).await;
    let mut resets = daemon.follow("kind=reset", None).await;
    daemon.queues.observe(drop_event(2, 2));
    daemon.queues.observe(reset_event(3));
    daemon.publish(3);
    let (name, id, data) = next(&mut all).await;
    assert_eq!(
        (name.as_str(), data["seq"].as_u64(), data["peer"]["port"].as_u64()),
        ("drop", Some(2), Some(2))
    );
    assert!(id.ends_with("-2"), "{id}");
    assert_eq!(next(&mut all).await.0, "reset");
    assert_eq!(next(&mut resets).await.2["seq"], 3);
}

#[tokio::test]
async fn a_client_that_lost_its_connection_goes_on_where_it_was() {
    let mut daemon = Daemon::start(1 << 20);
    let mut body = daemon.follow("", None).await;
    (1..=3).for_each(|second| daemon.queues.observe(drop_event(second, 1)));
    daemon.publish(3);
    let (_, id, _) = next(&mut body).await;
    drop(body);
    let mut again = daemon.follow("", Some(&id)).await;
    assert_eq!(next(&mut again).await.2["seq"], 2);
    let mut by_cursor = daemon.follow(&format!("cursor={id}"), None).await;
    assert_eq!(next(&mut by_cursor).await.2["seq"], 2);
}

#[tokio::test]
async fn what_was_evicted_lost_or_of_another_run_is_told_in_the_stream() {
    let mut daemon = Daemon::start(1);
    let mut body = daemon.follow("", None).await;
    (1..=1000).for_each(|second| daemon.queues.observe(drop_event(second, 1)));
    let mut flow = EventFlow::default();
    flow.lost[LossReason::RingFull as usize] = 7;
    daemon.queues.set_health(Health { flow, ..Health::default() });
    daemon.publish(1000);
    let (name, _, lost) = next(&mut body).await;
    assert_eq!(
        (name.as_str(), lost["events"].as_u64(), lost["reason"].as_str()),
        ("lost", Some(7), Some("ring_full"))
    );
    let (name, _, evicted) = next(&mut body).await;
    let gone = evicted["events"].as_u64().expect("a number");
    assert!(name == "lost" && evicted["reason"] == "evicted" && gone > 0);
    assert_eq!(next(&mut body).await.2["seq"], gone + 1);
    let mut other_run = daemon.follow("", Some("whatever this was")).await;
    assert_eq!(next(&mut other_run).await.2["reason"], "restart");
}

#[tokio::test]
async fn no_more_streams_than_there_may_be_and_a_place_is_free_when_one_ends() {
    let daemon = Daemon::start(1 << 20);
    let mut open = Vec::new();
    for _ in 0..super::stream::SUBSCRIBERS {
        open.push(daemon.follow("", None).await);
    }
    assert!(daemon.publisher.is_followed());
    let refused = daemon.ask("", None).await;
    assert_eq!(refused.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(refused.headers()["retry-after"], "1");
    open.clear();
    assert_eq!(daemon.ask("", None).await.status(), StatusCode::OK);
    assert!(!daemon.publisher.is_followed());
}

#[tokio::test(start_paused = true)]
async fn a_client_that_takes_nothing_is_cut_off_with_the_reason() {
    let mut daemon = Daemon::start(1 << 20);
    let mut body = daemon.follow("", None).await;
    daemon.queues.observe(drop_event(1, 1));
    daemon.publish(1);
    assert_eq!(next(&mut body).await.0, "drop");
    tokio::time::advance(Duration::from_secs(9)).await;
    daemon.queues.observe(drop_event(2, 1));
    daemon.publish(2);
    assert_eq!(next(&mut body).await.0, "drop", "nobody is cut off for having had nothing to take");
    daemon.queues.observe(drop_event(3, 1));
    daemon.publish(3);
    tokio::time::advance(Duration::from_secs(16)).await;
    let (name, _, ended) = next(&mut body).await;
    assert_eq!((name.as_str(), ended["reason"].as_str()), ("end", Some("slow")));
    assert!(body.part().await.is_none());
}

#[tokio::test(start_paused = true)]
async fn while_nothing_happens_a_heartbeat_comes_every_ten_seconds() {
    let mut daemon = Daemon::start(1 << 20);
    let mut body = daemon.follow("", None).await;
    for _ in 0..3 {
        let before = tokio::time::Instant::now();
        assert_eq!(body.part().await.as_deref(), Some(": heartbeat"));
        assert_eq!(before.elapsed().as_secs(), 10);
    }
    daemon.queues.observe(drop_event(1, 1));
    daemon.publish(1);
    assert_eq!(next(&mut body).await.0, "drop");
}

#[tokio::test]
async fn a_stream_ends_with_the_daemon_and_says_so() {
    let Daemon { publisher, snapshots, router, .. } = Daemon::start(1 << 20);
    let request = Request::get("/api/v1/events/stream").body(Body::empty()).expect("a request");
    let body = router.oneshot(request).await.expect("an answer").into_body();
    let mut follower = Follower { body, unread: String::new() };
    assert!(follower.part().await.is_some() && follower.part().await.is_some(), "the greeting");
    drop((publisher, snapshots));
    assert_eq!(next(&mut follower).await.2["reason"], "stopping");
}

#[tokio::test]
async fn a_spike_is_told_when_it_begins_and_when_it_is_over() {
    let mut daemon = Daemon::start(1 << 20);
    let mut ordinary = daemon.follow("kind=reset", None).await;
    let mut body = daemon.follow("cause=accept_queue_full", None).await;
    let (mut counted, mut second) = (0, 1);
    // Quiet, a second with many drops, and quiet again.
    for step in 0..90 {
        second += 1;
        if step == 40 {
            counted += 200;
        }
        daemon.queues.count([(web(), drops(counted))], at(second));
        let _notices = daemon.queues.tick(at(second));
        daemon.publish(second);
    }
    let mut told = Vec::new();
    while told.last().is_none_or(|name| name != "spike_ended") {
        let (name, _, data) = next(&mut body).await;
        if name.starts_with("spike") {
            assert_eq!((&data["cause"], &data["drops"]), (&"accept_queue_full".into(), &counted.into()));
        }
        told.push(name);
    }
    assert_eq!(told.iter().filter(|name| name.starts_with("spike")).count(), 2, "{told:?}");
    // A client that asks for resets gets no spikes.
    daemon.queues.observe(reset_event(second + 1));
    daemon.publish(second + 1);
    assert_eq!(next(&mut ordinary).await.0, "reset");
}

#[tokio::test]
async fn a_daemon_that_stops_tells_what_there_is_and_the_end_and_still_answers() {
    let mut daemon = Daemon::start(1 << 20);
    let mut body = daemon.follow("", None).await;
    daemon.queues.observe(drop_event(1, 1));
    daemon.publish(1);
    daemon.publisher.end_subscriptions(Arc::new(daemon.queues.snapshot(at(1))));
    daemon.queues.observe(drop_event(2, 1));
    daemon.publish(2);
    assert_eq!(next(&mut body).await.0, "drop");
    let (name, _, end) = next(&mut body).await;
    assert_eq!((name.as_str(), &end["reason"]), ("end", &"stopping".into()));
    assert_eq!(body.part().await, None);
    // A stream that is asked for on a connection that is still open.
    assert_eq!(next(&mut daemon.follow("", None).await).await.0, "end");
    let request = Request::get("/-/ready").body(Body::empty()).expect("a request");
    let ready = daemon.router.clone().oneshot(request).await.expect("an answer");
    assert_eq!(ready.status(), StatusCode::SERVICE_UNAVAILABLE);
    let why = ready.into_body().collect().await.expect("whole").to_bytes();
    assert!(String::from_utf8_lossy(&why).contains("not ready: the daemon stops"), "{why:?}");
}

#[tokio::test(start_paused = true)]
async fn a_client_that_is_far_behind_when_the_daemon_stops_gets_the_end_in_time() {
    let mut daemon = Daemon::start(1 << 20);
    let mut body = daemon.follow("", None).await;
    (1..=6000).for_each(|second| daemon.queues.observe(drop_event(second, 1)));
    daemon.publisher.end_subscriptions(Arc::new(daemon.queues.snapshot(at(6000))));
    let mut frames = 0;
    while next(&mut body).await.0 != "end" {
        // The rest of the frame.
        body.unread.clear();
        tokio::time::advance(Duration::from_millis(900)).await;
        frames += 1;
    }
    assert_eq!((frames, body.part().await), (3, None));
}
