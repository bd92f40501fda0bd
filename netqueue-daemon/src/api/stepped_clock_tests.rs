//! Tests of responses after the wall clock was set back a day: times are shown, parsed and ordered as
//! it is set now.

use axum::http::{Method, StatusCode};
use netqueue_domain::{Observation, Snapshot, WallClock};
use serde_json::Value;

use super::tests::{ATTACHED, ask_of, at, drop_event, incident, json_of, shown};

const DAY: u64 = 86_400;

/// Makes a snapshot of the incident, then the step, then one more drop.
fn stepped_back() -> Snapshot {
    let mut queues = incident();
    let clock = WallClock::stepped_by(-(DAY as i64) * 1_000_000_000);
    queues.apply(at(10), Observation::WallClock(clock));
    queues.observe(drop_event(11, 1011));
    queues.snapshot(at(12))
}

async fn ask(uri: &str) -> Value {
    let response = ask_of(stepped_back(), Method::GET, uri).await;
    assert_eq!(response.status(), StatusCode::OK, "{uri}");
    json_of(response).await["data"].clone()
}

fn a_day_before(seconds: u64) -> String {
    WallClock::stepped_by(-(DAY as i64) * 1_000_000_000).rfc3339(at(seconds))
}

fn times(events: &Value) -> Vec<&str> {
    let events = events["events"].as_array().expect("events");
    events.iter().map(|event| event["time"].as_str().expect("a time")).collect()
}

#[tokio::test(start_paused = true)]
async fn events_of_before_and_after_the_step_are_in_order_and_on_the_clock_of_now() {
    let events = ask("/api/v1/events?order=asc").await;
    assert_eq!(times(&events), [1, 2, 3, 4, 11].map(a_day_before));
}

#[tokio::test(start_paused = true)]
async fn what_is_asked_for_by_time_is_what_that_time_was_shown_of() {
    for parameter in ["since", "start"] {
        let events = ask(&format!("/api/v1/events?{parameter}={}", a_day_before(10))).await;
        assert_eq!(times(&events), [a_day_before(11)], "{parameter}");
        let none = ask(&format!("/api/v1/events?{parameter}={}", shown(0))).await;
        assert!(times(&none).is_empty(), "{parameter} is tomorrow");
    }
    let peers = ask(&format!("/api/v1/peers?since={}", a_day_before(10))).await;
    assert_eq!(peers["peers"][0]["last"], a_day_before(11));
}

#[tokio::test(start_paused = true)]
async fn the_other_answers_show_the_clock_of_now_too() {
    let status = ask("/api/v1/status").await;
    assert_eq!(status["attached"], a_day_before(0));
    assert_eq!(status["taken"], a_day_before(12));
    let listeners = ask("/api/v1/listeners").await;
    assert_eq!(listeners["listeners"][0]["last_seen"], a_day_before(11));
    let start = ATTACHED - DAY;
    let series = ask(&format!("/api/v1/timeseries?start={start}&step=1")).await;
    assert_eq!((series["start"].as_u64(), &series["known_since"]), (Some(start), &a_day_before(0).into()));
    let diagnosis = ask(&format!("/api/v1/diagnosis?since={}", a_day_before(2))).await;
    assert_eq!(diagnosis["window"]["start"], a_day_before(2));
    assert_eq!(diagnosis["window"]["end"], a_day_before(12));
}
