//! A daemon killed while it writes its event log: the log is restored, and the daemon reports the gap.
//! At most the last second is missing.

mod replay;

use std::path::Path;

use replay::{Replay, SECOND, Storm};
use serde_json::Value;

const fn storm(run: u64, seconds: u64) -> Storm {
    Storm { run, seconds, events_per_second: 10_000, listeners: 7 }
}

fn start(storm: &Storm, folder: &Path, log: &Path) -> Replay {
    let log = log.to_str().expect("text");
    Replay::start(&storm.record(folder), &["--event-log", log], "serving")
}

/// Returns every stored event, oldest first.
fn all(replay: &Replay) -> Vec<Value> {
    let (mut all, mut path) = (Vec::new(), "/api/v1/events?order=asc&limit=1000".to_owned());
    loop {
        let page = replay.ask(&path);
        let events = page["data"]["events"].as_array().expect("a list");
        if events.is_empty() {
            return all;
        }
        all.extend(events.iter().cloned());
        let next = page["data"]["next"].as_str().expect("a cursor");
        path = format!("/api/v1/events?order=asc&limit=1000&cursor={next}");
    }
}

fn nanos(event: &Value) -> u64 {
    event["time_ns"].as_str().and_then(|nanos| nanos.parse().ok()).expect("a time")
}

#[test]
fn killed_while_writing_the_log_comes_back_but_for_its_last_second() {
    let folder = tempfile::tempdir().expect("a folder");
    let log = folder.path().join("log");
    let mut newest = Vec::new();
    let mut last_cursor = String::new();
    for run in 0..3 {
        let storm = storm(run, 6);
        let replay = start(&storm, folder.path(), &log);
        // Kill each run some seconds into the storm, at another point of the writer's half second.
        replay.wait_for(15_000 + run * 1_700);
        newest.push(replay.ask("/api/v1/events?limit=1")["data"]["events"][0].clone());
        last_cursor =
            replay.ask("/api/v1/events?order=asc&limit=1")["data"]["next"].as_str().expect("one").to_owned();
        drop(replay);
    }
    let replay = start(&storm(9, 0), folder.path(), &log);
    let all = all(&replay);

    // The sequence numbers of all runs have no gap, and each run's events are present from its first one on.
    assert!(all.iter().map(|event| event["seq"].as_u64().expect("a number")).eq(1..=all.len() as u64));
    let mut rest = &all[..];
    for (run, newest) in newest.iter().enumerate() {
        let run = run as u64;
        let until =
            rest.iter().position(|event| nanos(event) >= storm(run + 1, 6).attached()).unwrap_or(rest.len());
        let (own, others) = rest.split_at(until);
        rest = others;
        for (number, held) in (1..).zip(own) {
            let wrote = storm(run, 6).event(number);
            assert_eq!(nanos(held), wrote.time.as_nanos());
            assert_eq!(held["peer"]["addr"], wrote.peer.expect("it has one").addr.to_string());
            assert_eq!((&held["cause"], &held["netns"]), (&"accept_queue_full".into(), &"host".into()));
            assert!(held["listener"].is_null(), "ids of another run mean nothing");
        }
        let lost = nanos(newest).saturating_sub(nanos(own.last().expect("some are there")));
        assert!(lost <= SECOND, "{} ms of run {run} are missing", lost / 1_000_000);
        println!("run {run}: {} events came back, {} ms missing", own.len(), lost / 1_000_000);
    }
    assert!(rest.is_empty());

    // The answer reports the gaps and their places.
    let answer = replay.ask("/api/v1/events?limit=1");
    let gaps = answer["coverage"]["gaps"].as_array().expect("a list");
    assert_eq!(gaps.len(), 3, "{gaps:?}");
    assert!(gaps.iter().all(|gap| gap["reason"] == "killed"), "{gaps:?}");
    assert_eq!(gaps[2]["after"], all.len() as u64);
    let log = &replay.ask("/api/v1/status")["data"]["event_log"];
    assert_eq!(log["read_back"], all.len() as u64);

    // A client resumes at a cursor within the last run.
    let number: u64 =
        last_cursor.split_once('-').and_then(|(_, number)| number.parse().ok()).expect("a number");
    let page = replay.ask(&format!("/api/v1/events?order=asc&limit=1&cursor={last_cursor}"));
    assert_eq!(page["data"]["events"][0]["seq"], number + 1);
}
