//! Runs the binary as a user does, against real servers, and checks its output and exit code.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::process::{Output, Stdio};
use std::sync::Arc;

use netqueue_daemon::{api, snapshots, web};
use netqueue_domain::{
    AccountKey, Aggregator, AggregatorSettings, AttachMode, DropKind, Endpoint, Event, Health, Netns, Peer,
    ProbeStatus, QueueState, Queues, ResetCause, SocketId, Timestamp, What,
};
use serde_json::Value;
use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader},
    net::TcpListener,
};

const HOST: Netns = Netns::at_attach(4_026_531_840);

fn at(seconds: u64) -> Timestamp {
    Timestamp::from_nanos((1_790_000_000 + seconds) * 1_000_000_000)
}

fn event(seconds: u64, account: AccountKey, port: u16, what: What) -> Event {
    let accept = Some(QueueState { length: 9, limit: 8 });
    Event {
        time: at(seconds),
        account,
        local_port: port,
        peer: Some(Peer { addr: IpAddr::V4(Ipv4Addr::new(10, 9, 9, 3)), port: 40_000 }),
        what,
        kernel_reason: None,
        queues: Queues { accept: matches!(what, What::Drop(_)).then_some(accept).flatten(), syn: None },
        cpu: 0,
        age: None,
    }
}

/// Starts a daemon's surfaces over one snapshot, without a kernel.
async fn daemon(probe_attached: bool) -> SocketAddr {
    let mut aggregator =
        Aggregator::new(AggregatorSettings { event_memory: 1 << 20, ..AggregatorSettings::of(HOST) }, at(0));
    let place = |port| Endpoint { netns: HOST, addr: Ipv4Addr::UNSPECIFIED.into(), port };
    let web = AccountKey::Listener { socket: SocketId(1), at: place(8081) };
    aggregator.observe(event(1, web, 8081, What::Drop(DropKind::AcceptQueueFullAck)));
    aggregator.observe(event(2, AccountKey::Endpoint(place(81)), 81, What::Reset(ResetCause::NoListener)));
    let probe = ProbeStatus {
        program: "conn_request".into(),
        function: "tcp_conn_request".into(),
        at: "entry".into(),
        mode: AttachMode::Kprobe,
        required: true,
        attached: probe_attached,
        detail: None,
        missed: Some(0),
    };
    aggregator.set_health(Health { probes: vec![probe], ..Health::default() });
    let (mut publisher, snapshots) = snapshots::channel(aggregator.snapshot(at(90)));
    let fresh = Arc::new(aggregator.snapshot(at(90)));
    tokio::spawn(async move {
        while let Some(request) = publisher.request().await {
            if let snapshots::Request::Picture(asked) = request {
                asked.answer(fresh.clone());
            }
        }
    });
    let secured = Arc::new(web::AuthConfig::read(None).expect("nothing to read"));
    let server = web::bind((Ipv4Addr::LOCALHOST, 0).into(), secured).expect("a free port");
    let address = server.local_addr();
    let exposure = web::Exposure {
        address,
        telemetry_path: "/metrics".to_owned(),
        allow_unauthenticated: false,
        hostnames: Vec::new(),
    };
    tokio::spawn(server.serve(api::router(snapshots), exposure, std::future::pending()));
    address
}

async fn netqueue(server: SocketAddr, args: &[&str]) -> Output {
    let mut command = tokio::process::Command::new(env!("CARGO_BIN_EXE_netqueue"));
    command.args(args).env("NETQUEUE_SERVER", format!("http://{server}")).env_remove("NO_COLOR");
    command.output().await.expect("it runs")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).expect("text")
}

/// Runs a command that must succeed; returns its standard output.
async fn good(server: SocketAddr, args: &[&str]) -> String {
    let output = netqueue(server, args).await;
    assert_eq!(output.status.code(), Some(0), "{args:?}: {}", text(&output.stderr));
    text(&output.stdout)
}

/// Runs a command; returns its exit code and its standard error.
async fn bad(server: SocketAddr, args: &[&str]) -> (Option<i32>, String) {
    let output = netqueue(server, args).await;
    (output.status.code(), text(&output.stderr))
}

#[tokio::test]
async fn events_come_as_a_log_without_colours_in_a_pipe() {
    let server = daemon(true).await;
    let log = good(server, &["events"]).await;
    let lines: Vec<_> = log.lines().collect();
    assert!(lines[0].starts_with("TIME (UTC)"), "{log}");
    assert!(lines[1].contains("0.0.0.0:8081  drop   accept_queue_full/ack  10.9.9.3:40000     9/8"), "{log}");
    assert!(lines[2].contains("no_listener") && lines.len() == 3, "{log}");
    assert!(!log.contains('\u{1b}'));
    assert!(good(server, &["events", "--color=always"]).await.contains('\u{1b}'));
    let one = good(server, &["events", "--kind", "reset", "--json"]).await;
    let one: Value = serde_json::from_str(&one).expect("JSON");
    assert_eq!(one["data"]["events"][0]["cause"], "no_listener");
    assert_eq!(one["data"]["events"].as_array().map(Vec::len), Some(1));
    assert_eq!(good(server, &["events", "--port", "1"]).await, "no such event\n");
}

#[tokio::test]
async fn followed_events_go_on_where_the_past_ends() {
    let server = daemon(true).await;
    let mut command = tokio::process::Command::new(env!("CARGO_BIN_EXE_netqueue"));
    command.args(["events", "--follow", "--server", &format!("http://{server}")]);
    let mut child = command.stdout(Stdio::piped()).kill_on_drop(true).spawn().expect("it runs");
    let mut lines = BufReader::new(child.stdout.take().expect("its output")).lines();
    let mut next = async || lines.next_line().await.expect("readable").expect("a line");
    assert!(next().await.contains("0.0.0.0:8081           drop   accept_queue_full/ack"));
    assert!(next().await.contains("no_listener"));
    assert_eq!(child.try_wait().expect("known"), None, "it goes on");
}

#[tokio::test]
async fn a_filter_the_daemon_refuses_is_a_usage_error_in_its_words() {
    let (code, error) = bad(daemon(true).await, &["events", "--cause", "full"]).await;
    assert_eq!(code, Some(2));
    assert!(error.contains("`cause` is \"full\": expected one of accept_queue_full"), "{error}");
}

#[tokio::test]
async fn status_is_bad_news_where_netqueue_does_not_see() {
    let server = daemon(false).await;
    let output = netqueue(server, &["status"]).await;
    assert_eq!(output.status.code(), Some(1));
    let report = text(&output.stdout);
    assert!(report.contains("Probes    LOOK  0 of 1 programs attached"), "{report}");
    assert!(report.contains("! probe conn_request on tcp_conn_request is not attached"), "{report}");
    assert!(report.contains("attached for 90 s"), "{report}");
}

#[tokio::test]
async fn a_listener_nobody_knows_is_bad_news() {
    let output = netqueue(daemon(true).await, &["explain", "9"]).await;
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stdout).contains("netqueue knows nothing of port 9"));
}

#[tokio::test]
async fn no_daemon_says_what_to_do() {
    let free =
        TcpListener::bind("127.0.0.1:0").await.and_then(|listener| listener.local_addr()).expect("a port");
    let (code, error) = bad(free, &["status"]).await;
    assert_eq!(code, Some(3));
    assert!(
        error.contains(&format!("nothing listens at http://{free}: is `netqueue daemon` running")),
        "{error}"
    );
}

#[tokio::test]
async fn what_is_not_netqueue_is_told_apart() {
    for (answer, expected) in [
        ("SSH-2.0-OpenSSH_9.2\r\n", "did not answer in HTTP"),
        ("HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello", "is not netqueue (no JSON"),
        ("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}", "is not netqueue (JSON without"),
        ("HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n", "is not netqueue (status 404"),
    ] {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let _asked = stream.read(&mut [0; 4096]).await;
                let _sent = stream.write_all(answer.as_bytes()).await;
            }
        });
        let (code, error) = bad(address, &["status"]).await;
        assert_eq!(code, Some(3), "{error}");
        assert!(error.contains(expected), "{error}");
    }
}

#[tokio::test]
async fn another_version_is_named() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let _asked = stream.read(&mut [0; 4096]).await;
            let body = r#"{"status":"success","data":{"version":"9.8.7","events":"none of your business"}}"#;
            let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len());
            let _sent = stream.write_all(head.as_bytes()).await;
        }
    });
    let (code, error) = bad(address, &["status"]).await;
    assert_eq!(code, Some(3));
    assert!(error.contains("is version 9.8.7, this is"), "{error}");
}
