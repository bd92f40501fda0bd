//! Tests of pages, series, peers and forms, as clients read them.

use axum::{
    body::Body,
    http::{Method, Request, StatusCode, header},
};
use netqueue_domain::{Aggregator, AggregatorSettings, Snapshot};
use serde_json::{Value, json};
use tower::ServiceExt as _;

use super::tests::{ATTACHED, HOST, ask_of, at, drop_event, drops, get, incident, json_of, shown, text, web};
use crate::snapshots;

/// Makes a snapshot after that many drops, one a second, of which the event log keeps what fits.
fn long_incident(events: u64, event_memory: usize) -> Snapshot {
    let mut queues =
        Aggregator::new(AggregatorSettings { event_memory, ..AggregatorSettings::of(HOST) }, at(0));
    for second in 1..=events {
        queues.count([(web(), drops(second))], at(second));
        queues.observe(drop_event(second, second as u16));
    }
    queues.snapshot(at(events + 1))
}

async fn ask(snapshot: &Snapshot, uri: &str) -> Value {
    let response = ask_of(snapshot.clone(), Method::GET, uri).await;
    assert_eq!(response.status(), StatusCode::OK, "{uri}");
    json_of(response).await
}

fn seqs(answer: &Value) -> Vec<u64> {
    let events = answer["data"]["events"].as_array().expect("events");
    events.iter().map(|event| event["seq"].as_u64().expect("a number")).collect()
}

#[tokio::test(start_paused = true)]
async fn pages_put_together_are_all_events_each_once() {
    let snapshot = long_incident(1000, 1 << 20);
    for order in ["desc", "asc"] {
        let (mut all, mut cursor) = (Vec::new(), String::new());
        for _ in 0..30 {
            let page = ask(&snapshot, &format!("/api/v1/events?limit=37&order={order}{cursor}")).await;
            all.extend(seqs(&page));
            match page["data"]["next"].as_str() {
                Some(next) => cursor = format!("&cursor={next}"),
                None => break,
            }
        }
        if order == "desc" {
            all.reverse();
        }
        assert!(all.iter().copied().eq(1..=1000), "{order}: {} events", all.len());
    }
}

#[tokio::test(start_paused = true)]
async fn a_client_that_comes_back_later_gets_what_came_since_and_hears_what_is_gone() {
    let before = long_incident(300, 1);
    let last = ask(&before, "/api/v1/events?order=asc&limit=1000").await;
    let cursor = last["data"]["next"].as_str().expect("where to go on").to_owned();
    let uri = format!("/api/v1/events?order=asc&limit=1000&cursor={cursor}");
    let soon = ask(&long_incident(310, 1), &uri).await;
    assert!(seqs(&soon).into_iter().eq(301..=310));
    assert_eq!(soon["data"]["truncated_before"], Value::Null);
    let late = ask(&long_incident(5000, 1), &uri).await;
    let oldest = seqs(&late)[0];
    assert!(oldest > 4000);
    assert_eq!(late["data"]["truncated_before"], oldest);
}

#[tokio::test(start_paused = true)]
async fn a_cursor_of_an_earlier_run_is_not_taken_for_one_of_this() {
    let answer = get("/api/v1/events?order=asc&cursor=1-2").await;
    assert_eq!(seqs(&answer), [1, 2, 3, 4]);
    assert!(answer["warnings"].to_string().contains("another run"), "{answer}");
}

#[tokio::test(start_paused = true)]
async fn a_window_has_its_start_and_not_its_end() {
    let (start, end) = (ATTACHED + 2, ATTACHED + 4);
    assert_eq!(seqs(&get(&format!("/api/v1/events?start={start}&end={end}")).await), [3, 2]);
    assert_eq!(seqs(&get("/api/v1/events?process=nginx").await), [0_u64; 0]);
    assert_eq!(seqs(&get("/api/v1/events?process=").await), [4, 3, 2, 1]);
}

#[tokio::test(start_paused = true)]
async fn lines_hold_what_the_object_holds() {
    let (_publisher, snapshots) = snapshots::channel(incident().snapshot(at(10)));
    let request = Request::get("/api/v1/events?limit=2").header(header::ACCEPT, "application/x-ndjson");
    let response = super::router(snapshots)
        .oneshot(request.body(Body::empty()).expect("a request"))
        .await
        .expect("an answer");
    assert_eq!(response.headers()[header::CONTENT_TYPE], "application/x-ndjson");
    let lines: Vec<Value> =
        text(response).await.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    let object = get("/api/v1/events?limit=2").await;
    assert_eq!(lines[..2], object["data"]["events"].as_array().expect("events")[..]);
    let page = &lines[2];
    assert_eq!(
        (&page["next"], &page["coverage"], &page["warnings"]),
        (&object["data"]["next"], &object["coverage"], &object["warnings"])
    );
}

#[tokio::test(start_paused = true)]
async fn listeners_are_sorted_by_what_hurts() {
    let ids = async |query: &str| {
        let answer = get(&format!("/api/v1/listeners?{query}")).await;
        let listeners = answer["data"]["listeners"].as_array().expect("listeners").clone();
        (
            listeners.iter().map(|one| one["id"].as_str().unwrap_or("").to_owned()).collect::<Vec<_>>(),
            answer["data"]["total"].clone(),
        )
    };
    assert_eq!(ids("sort=drops").await, (vec!["1".into(), "3".into(), "2".into()], json!(3)));
    assert_eq!(ids("sort=resets&limit=1").await, (vec!["2".into()], json!(3)));
    assert_eq!(ids("sort=fullness&limit=1").await.0, ["1"]);
    assert_eq!(ids("process=nginx").await.0, [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn one_listener_comes_with_its_last_quarter_of_an_hour() {
    let snapshot = long_incident(60, 1 << 20);
    let answer = ask(&snapshot, "/api/v1/listeners/1").await;
    assert_eq!(answer["data"]["listener"]["drops"]["total"], 60);
    let drops = &answer["data"]["history"][0];
    assert_eq!(
        (&drops["measure"], &drops["cause"], &drops["stage"]),
        (&json!("drop"), &json!("accept_queue_full"), &json!("syn"))
    );
    let sum: u64 = drops["values"].as_array().expect("values").iter().filter_map(Value::as_u64).sum();
    assert_eq!(sum, 60);
    let response = ask_of(snapshot, Method::GET, "/api/v1/listeners/99").await;
    assert_eq!(response.status(), StatusCode::NOT_FOUND);
    assert!(text(response).await.contains("no account has this id"));
}

#[tokio::test(start_paused = true)]
async fn series_add_up_to_the_counts_whatever_the_step() {
    let snapshot = long_incident(600, 1 << 20);
    for (query, step) in [("", 2), ("&step=1", 1), ("&step=60", 60), ("&by=all&step=7", 7)] {
        let answer = ask(&snapshot, &format!("/api/v1/timeseries?measure=drop{query}")).await;
        let data = &answer["data"];
        assert_eq!(data["step"], step, "{query}");
        let values = data["series"][0]["values"].as_array().expect("values");
        assert_eq!(values.len() as u64, data["steps"], "{query}");
        assert_eq!(values.iter().filter_map(Value::as_u64).sum::<u64>(), 600, "{query}");
    }
    let far = ask(&snapshot, "/api/v1/timeseries?start=0&step=1").await;
    assert_eq!(far["data"]["step"], 60);
    assert!(far["warnings"].to_string().contains("steps of 60 s"), "{}", far["warnings"]);
    assert_eq!(ask(&snapshot, "/api/v1/timeseries?cause=no_listener").await["data"]["series"], json!([]));
    assert_eq!(
        ask(&snapshot, "/api/v1/timeseries?start=1790000300&end=1790000200").await["data"]["steps"],
        0
    );
}

#[tokio::test(start_paused = true)]
async fn the_clients_that_met_most_come_first() {
    let answer = get("/api/v1/peers").await;
    assert_eq!(
        answer["data"],
        json!({
            "peers": [{"addr": "10.9.9.3", "drops": 3, "resets": 0, "cause": "accept_queue_full", "last": shown(4)}],
            "addresses": 1, "events": 3, "truncated_before": null,
        })
    );
    assert_eq!(get("/api/v1/peers?by=resets").await["data"]["peers"], json!([]));
}

#[tokio::test(start_paused = true)]
async fn the_document_that_is_served_is_the_one_in_the_repository() {
    let response = ask_of(incident().snapshot(at(10)), Method::GET, "/api/v1/openapi.json").await;
    let committed = serde_json::to_value(super::document()).expect("JSON");
    assert_eq!(json_of(response).await, committed);
}
