//! Tests of requests through the router, and of responses as clients read them.

use std::net::IpAddr;

use axum::{
    body::Body,
    http::{Method, Request, StatusCode, header},
    response::Response,
};
use http_body_util::BodyExt as _;
use netqueue_domain::{
    AccountKey, Aggregator, AggregatorSettings, AttachMode, Bracket, Counts, DropKind, Endpoint, Event,
    EventFlow, Health, KernelCounter, LossReason, Netns, Peer, PerCounter, ProbeStatus, QueueState, Queues,
    ResetCause, Snapshot, SocketId, Timestamp, WallClock, What,
};
use serde_json::{Value, json};
use tower::ServiceExt as _;

use crate::snapshots;

pub(super) const HOST: Netns = Netns::at_attach(4_026_531_840);
const POD: Netns = Netns::at_attach(4_026_532_201);
const SECOND: u64 = 1_000_000_000;
pub(super) const ATTACHED: u64 = 1_790_000_000;

pub(super) fn at(seconds: u64) -> Timestamp {
    Timestamp::from_nanos((ATTACHED + seconds) * SECOND)
}

/// Formats a time as responses do if the clock was never stepped.
pub(super) fn shown(seconds: u64) -> String {
    WallClock::default().rfc3339(at(seconds))
}

pub(super) fn address(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

pub(super) fn web() -> AccountKey {
    let at = Endpoint { netns: HOST, addr: address("0.0.0.0"), port: 80 };
    AccountKey::Listener { socket: SocketId(1), at }
}

pub(super) fn nobody() -> AccountKey {
    AccountKey::Endpoint(Endpoint { netns: POD, addr: address("::1"), port: 81 })
}

pub(super) fn drops(number: u64) -> Counts {
    Counts::from_fn(
        |kind| if kind == DropKind::AcceptQueueFullSyn { number } else { 0 },
        |_| 0,
        |counter| match counter {
            KernelCounter::ListenOverflows | KernelCounter::ListenDrops => number,
            _ => 0,
        },
    )
}

pub(super) fn resets(number: u64) -> Counts {
    Counts::from_fn(|_| 0, |cause| if cause == ResetCause::NoListener { number } else { 0 }, |_| 0)
}

pub(super) fn drop_event(seconds: u64, port: u16) -> Event {
    Event {
        time: at(seconds),
        account: web(),
        local_port: 80,
        peer: Some(Peer { addr: address("10.9.9.3"), port }),
        what: What::Drop(DropKind::AcceptQueueFullSyn),
        kernel_reason: None,
        queues: Queues { accept: Some(QueueState { length: 2, limit: 1 }), syn: None },
        cpu: 1,
        age: None,
    }
}

pub(super) fn reset_event(seconds: u64) -> Event {
    Event {
        time: at(seconds),
        account: nobody(),
        local_port: 81,
        peer: None,
        what: What::Reset(ResetCause::NoListener),
        kernel_reason: Some("NO_SOCKET".into()),
        queues: Queues::default(),
        cpu: 0,
        age: None,
    }
}

fn probe(attached: bool, required: bool) -> ProbeStatus {
    ProbeStatus {
        program: "conn_request_enter".into(),
        function: "tcp_v4_conn_request".into(),
        at: "entry".into(),
        mode: AttachMode::Kprobe,
        required,
        attached,
        detail: (!attached).then(|| "the function is not there: drops at the SYN are not seen".to_owned()),
        missed: Some(0),
    }
}

/// Makes a listener with 24 drops of which 3 are events, a port that nobody serves, and a full map.
pub(super) fn incident() -> Aggregator {
    let mut queues =
        Aggregator::new(AggregatorSettings { event_memory: 1 << 20, ..AggregatorSettings::of(HOST) }, at(0));
    queues.count([(web(), drops(24)), (nobody(), resets(1)), (AccountKey::Other(HOST), drops(2))], at(9));
    for event in [drop_event(1, 1001), drop_event(2, 1002), reset_event(3), drop_event(4, 1004)] {
        queues.observe(event);
    }
    let all = |value| PerCounter::from_fn(|_| value);
    queues.set_baseline(HOST, &Bracket { before: all(0), kernel: all(1000), after: all(0) });
    queues.reconcile(HOST, &Bracket { before: all(26), kernel: all(1027), after: all(26) }, at(5));
    let mut flow = EventFlow { seen: 30, submitted: 4, suppressed: 3, folded: 2, ..EventFlow::default() };
    flow.lost[LossReason::RingFull as usize] = 23;
    let probes = vec![probe(true, true), probe(false, false)];
    queues.set_health(Health {
        probes,
        flow,
        warnings: vec!["a namespace could not be read".to_owned()],
        ..Health::default()
    });
    queues
}

pub(super) async fn ask_of(snapshot: Snapshot, method: Method, uri: &str) -> Response {
    let (_publisher, snapshots) = snapshots::channel(snapshot);
    let request = Request::builder().method(method).uri(uri).body(Body::empty()).expect("a request");
    super::router(snapshots).oneshot(request).await.expect("an answer")
}

pub(super) async fn text(response: Response) -> String {
    let body = response.into_body().collect().await.expect("a body").to_bytes();
    String::from_utf8(body.to_vec()).expect("text")
}

pub(super) async fn json_of(response: Response) -> Value {
    serde_json::from_str(&text(response).await).expect("JSON")
}

pub(super) async fn get(uri: &str) -> Value {
    let response = ask_of(incident().snapshot(at(10)), Method::GET, uri).await;
    assert_eq!(response.status(), StatusCode::OK, "{uri}");
    json_of(response).await
}

async fn refused(uri: &str) -> Value {
    let response = ask_of(incident().snapshot(at(10)), Method::GET, uri).await;
    assert_eq!(response.status(), StatusCode::BAD_REQUEST, "{uri}");
    assert_eq!(response.headers()[header::CONTENT_TYPE], "application/problem+json");
    let problem = json_of(response).await;
    assert_eq!((&problem["status"], &problem["errorType"]), (&json!("error"), &json!("bad_data")));
    problem
}

async fn seqs(query: &str) -> Vec<u64> {
    let answer = get(&format!("/api/v1/events?{query}")).await;
    let events = answer["data"]["events"].as_array().expect("events").clone();
    events.iter().map(|event| event["seq"].as_u64().expect("a number")).collect()
}

async fn ids(query: &str) -> Vec<String> {
    let answer = get(&format!("/api/v1/listeners?{query}")).await;
    let listeners = answer["data"]["listeners"].as_array().expect("listeners").clone();
    listeners.iter().map(|listener| listener["id"].as_str().expect("text").to_owned()).collect()
}

#[tokio::test(start_paused = true)]
async fn a_listener_says_what_it_dropped_and_why() {
    let answer = get("/api/v1/listeners").await;
    assert_eq!(answer["status"], "success");
    assert_eq!(
        answer["data"]["listeners"][0],
        json!({
            "id": "1", "kind": "listener", "netns": "host", "netns_inode": 4_026_531_840_u32, "netns_generation": 0,
            "addr": "0.0.0.0", "port": 80, "family": "ipv4", "process": "", "listener": null, "owner_state": null,
            "accept_queue": {"length": 2, "limit": 1}, "syn_queue": null,
            "traffic": {"established": 0, "accepted": 0, "abandoned": 0, "synack_retransmits": 0,
                "accept_queue_peak": {"since_scrape": 2, "last_minute": 2}, "syn_queue_peak": {"since_scrape": 0, "last_minute": 0},
                "accept_queue_depth": {"count": 0, "mean": null, "p50": null, "p90": null, "p99": null, "buckets": []},
                "accept_wait_seconds": {"count": 0, "mean": null, "p50": null, "p90": null, "p99": null, "buckets": []},
                "accept_wait_unmeasured": 0},
            "drops": {"total": 24, "by_cause": [{"cause": "accept_queue_full", "stage": "syn", "count": 24}]},
            "connection_resets": { "total": 0, "by_cause": [] },
            "resets": {"total": 0, "by_cause": []},
            "events": {"total": 24, "shown": 24, "suppressed": 0, "lost": 0},
            "handshakes": {"suspended": 0, "recovered": 0, "ended": 0, "given_up": 0, "timed_out": 0, "expired": 0, "unresolved": 0},
            "ghosts": {"live": 0, "total": 0, "recovered": 0, "ended": 0, "given_up": 0},
            "syncookie_helper_overflows": 0,
            "counters": {"ListenOverflows": 24, "ListenDrops": 24, "TCPReqQFullDrop": 0,
                "TCPReqQFullDoCookies": 0, "SyncookiesSent": 0, "SyncookiesRecv": 0, "SyncookiesFailed": 0, "EmbryonicRsts": 0, "OutRsts": 0},
            "first_seen": shown(1), "last_seen": shown(9), "closed": null,
        })
    );
    let endpoint = &answer["data"]["listeners"][1];
    assert_eq!((&endpoint["addr"], &endpoint["family"]), (&json!("::1"), &json!("ipv6")));
    assert_eq!(endpoint["resets"], json!({"total": 1, "by_cause": [{"cause": "no_listener", "count": 1}]}));
    let other = &answer["data"]["listeners"][2];
    assert_eq!(
        (&other["kind"], &other["addr"], &other["port"], &other["family"]),
        (&json!("other"), &Value::Null, &Value::Null, &Value::Null)
    );
}

#[tokio::test(start_paused = true)]
async fn an_answer_says_what_it_covers_and_what_it_is_missing() {
    let answer = get("/api/v1/listeners").await;
    assert_eq!(
        answer["coverage"],
        json!({"since": shown(0), "taken": shown(10), "events_held": 4, "events_evicted": 0, "events_suppressed": 3, "events_lost": 23, "gaps": []})
    );
    let warnings = answer["warnings"].to_string();
    assert!(warnings.contains("23 lost (ring_full): events are missing, counts are exact"), "{warnings}");
    assert!(warnings.contains("a namespace could not be read"), "{warnings}");
    assert!(warnings.contains("conn_request_enter on tcp_v4_conn_request is not attached"), "{warnings}");
}

#[tokio::test(start_paused = true)]
async fn once_events_were_evicted_the_window_begins_at_the_oldest_held() {
    let mut queues =
        Aggregator::new(AggregatorSettings { event_memory: 1, ..AggregatorSettings::of(HOST) }, at(0));
    (1..=600).for_each(|second| queues.observe(drop_event(second, 1)));
    let response = ask_of(queues.snapshot(at(601)), Method::GET, "/api/v1/events").await;
    let answer = json_of(response).await;
    let coverage = &answer["coverage"];
    let evicted = coverage["events_evicted"].as_u64().expect("a number");
    assert!(evicted > 0);
    assert_eq!(coverage["since"], shown(evicted + 1));
    assert_eq!(answer["data"]["events"][0]["listener"], Value::Null);
    assert_eq!(answer["data"]["truncated_before"], Value::Null, "the first page does not reach that far");
    assert!(answer["data"]["next"].is_string());
}

#[tokio::test(start_paused = true)]
async fn events_come_newest_first_with_what_is_known_of_them() {
    assert_eq!(seqs("").await, [4, 3, 2, 1]);
    let answer = get("/api/v1/events?limit=2").await;
    assert_eq!(
        answer["data"]["events"],
        json!([
            {
                "seq": 4, "time": shown(4), "time_ns": at(4).as_nanos().to_string(), "kind": "drop",
                "listener": "1", "netns": "host", "netns_inode": 4_026_531_840_u32, "netns_generation": 0, "addr": "0.0.0.0",
                "port": 80, "process": "", "peer": {"addr": "10.9.9.3", "port": 1004}, "stage": "syn",
                "cause": "accept_queue_full", "kernel_reason": null,
                "accept_queue": {"length": 2, "limit": 1}, "syn_queue": null, "cpu": 1, "age_seconds": null,
            },
            {
                "seq": 3, "time": shown(3), "time_ns": at(3).as_nanos().to_string(), "kind": "reset",
                "listener": "2", "netns": "4026532201", "netns_inode": 4_026_532_201_u32, "netns_generation": 0, "addr": "::1",
                "port": 81, "process": "", "peer": null, "stage": null, "cause": "no_listener",
                "kernel_reason": "NO_SOCKET", "accept_queue": null, "syn_queue": null, "cpu": 0, "age_seconds": null,
            },
        ])
    );
}

#[tokio::test(start_paused = true)]
async fn events_are_chosen_by_every_filter() {
    for (query, expected) in [
        ("limit=1", &[4][..]),
        ("since=1790000002", &[4, 3]),
        ("since=1790000001.999999999", &[4, 3, 2]),
        ("since=2026-09-21T14:13:22Z", &[4, 3]),
        ("listener=2", &[3]),
        ("listener=99", &[]),
        ("netns=host", &[4, 2, 1]),
        ("netns=4026532201", &[3]),
        ("netns=4026532201.0", &[3]),
        ("netns=4026532201.1", &[]),
        ("netns=blue", &[]),
        ("addr=[::1]", &[3]),
        ("port=80", &[4, 2, 1]),
        ("cause=no_listener", &[3]),
        ("cause=other", &[]),
        ("kind=drop", &[4, 2, 1]),
        ("stage=syn&peer=10.9.9.3&limit=2", &[4, 2]),
        ("stage=cookie_ack", &[]),
    ] {
        assert_eq!(seqs(query).await, expected, "{query}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_listener_that_is_not_there_is_pointed_out() {
    let answer = get("/api/v1/events?listener=99").await;
    assert!(answer["warnings"].to_string().contains("no listener has the id 99"));
}

#[tokio::test(start_paused = true)]
async fn listeners_are_chosen_by_every_filter() {
    for (query, expected) in [
        ("", &["1", "2", "3"][..]),
        ("netns=host", &["1", "3"]),
        ("netns=4026531840&kind=other", &["3"]),
        ("addr=::1", &["2"]),
        ("port=80", &["1"]),
        ("kind=endpoint", &["2"]),
    ] {
        assert_eq!(ids(query).await, expected, "{query}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_refusal_names_the_parameter_the_value_and_what_would_be_right() {
    for (uri, parameter, value, expected) in [
        ("/api/v1/events?limit=0", "limit", "0", "1 to 1000"),
        ("/api/v1/events?limit=1001", "limit", "1001", "1 to 1000"),
        ("/api/v1/events?since=yesterday", "since", "yesterday", "RFC 3339"),
        ("/api/v1/events?cause=full", "cause", "full", "accept_queue_full, syn_queue_full"),
        ("/api/v1/events?stage=fin", "stage", "fin", "one of syn, ack, cookie_ack"),
        ("/api/v1/events?kind=rst", "kind", "rst", "one of drop, reset"),
        ("/api/v1/events?listener=web", "listener", "web", "id of a listener"),
        ("/api/v1/events?peer=10.0.0", "peer", "10.0.0", "IP address"),
        ("/api/v1/events?port=1&port=2", "port", "2", "given once"),
        ("/api/v1/listeners?port=65536", "port", "65536", "0 to 65535"),
        ("/api/v1/listeners?netns=", "netns", "", "`host`"),
        ("/api/v1/listeners?addr=", "addr", "", "IP address"),
        ("/api/v1/listeners?kind=socket", "kind", "socket", "listener, endpoint, ephemeral, other"),
    ] {
        let problem = refused(uri).await;
        assert_eq!((&problem["parameter"], &problem["value"]), (&json!(parameter), &json!(value)), "{uri}");
        let error = problem["error"].as_str().expect("text");
        assert!(error.contains(parameter) && error.contains(expected), "{uri}: {error}");
    }
}

#[tokio::test(start_paused = true)]
async fn parameters_nobody_knows_are_refused_by_name() {
    let problem = refused("/api/v1/listeners?prot=80").await;
    assert_eq!(
        problem["error"],
        "unknown query parameter `prot`: known are netns, addr, port, kind, process, closed, sort, limit"
    );
    let problem = refused("/api/v1/status?verbose=1").await;
    assert_eq!(problem["detail"], "unknown query parameter `verbose`: none is known here");
}

#[tokio::test(start_paused = true)]
async fn status_shows_probes_losses_and_what_is_left_over() {
    let answer = get("/api/v1/status").await;
    let data = &answer["data"];
    assert_eq!((&data["version"], &data["mode"]), (&json!(env!("CARGO_PKG_VERSION")), &json!("kprobe")));
    assert_eq!((&data["attached"], &data["taken"]), (&json!(shown(0)), &json!(shown(10))));
    let balance = &data["reconciliation"][0];
    assert_eq!((&balance["netns"], &balance["exact"]), (&json!("host"), &json!(false)));
    assert_eq!(
        balance["counters"]["ListenDrops"],
        json!({"kernel": 1027, "since_attach": 27, "attributed": 26, "residual": 1, "charged_since": 0})
    );
    assert_eq!(data["probes"][1]["attached"], false);
    let events = &data["events"];
    assert_eq!((&events["seen"], &events["stored"]), (&json!(30), &json!(4)));
    assert_eq!((&events["lost"]["ring_full"], &events["lost"]["map_full"]), (&json!(23), &json!(0)));
}

#[tokio::test]
async fn ready_means_that_every_required_probe_is_attached() {
    let ready = |probes| {
        let mut queues = incident();
        queues.set_health(Health { probes, ..Health::default() });
        ask_of(queues.snapshot(at(10)), Method::GET, "/-/ready")
    };
    assert_eq!(ready(vec![probe(true, true), probe(false, false)]).await.status(), StatusCode::OK);
    assert_eq!(ready(Vec::new()).await.status(), StatusCode::SERVICE_UNAVAILABLE);
    let response = ready(vec![probe(false, true)]).await;
    assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
    let detail = json_of(response).await["detail"].to_string();
    assert!(detail.contains("tcp_v4_conn_request is not attached: the function is not there"), "{detail}");
}

#[tokio::test]
async fn other_paths_and_methods_are_refused_as_problems() {
    for (method, uri, code) in [
        (Method::GET, "/api/v1/listener", StatusCode::NOT_FOUND),
        (Method::GET, "/api/v2/listeners", StatusCode::NOT_FOUND),
        (Method::POST, "/api/v1/listeners", StatusCode::METHOD_NOT_ALLOWED),
        (Method::DELETE, "/-/ready", StatusCode::METHOD_NOT_ALLOWED),
    ] {
        let response = ask_of(incident().snapshot(at(10)), method, uri).await;
        assert_eq!(response.status(), code, "{uri}");
        assert_eq!(response.headers()[header::CONTENT_TYPE], "application/problem+json");
        if code == StatusCode::METHOD_NOT_ALLOWED {
            assert_eq!(response.headers()[header::ALLOW], "GET,HEAD");
        }
        assert!(json_of(response).await["error"].to_string().contains(uri));
    }
}
