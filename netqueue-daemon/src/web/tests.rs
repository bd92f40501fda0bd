//! Tests with clients that behave, and with clients that do not.

use std::{
    io,
    net::{Ipv4Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use axum::{Router, routing::get};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    sync::oneshot,
    task::JoinHandle,
    time::{Instant, sleep, timeout},
};

use super::{AuthConfig, BindError, Drained, Exposure, Limits, Server, bind};

const SOON: Duration = Duration::from_secs(5);
const ANY: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

struct Running {
    address: SocketAddr,
    stop: oneshot::Sender<()>,
    task: JoinHandle<Drained>,
}

async fn run(limits: Limits, router: Router) -> Running {
    let server = bound(ANY).expect("a free port").with_limits(limits);
    let address = server.local_addr();
    let (stop, stopped) = oneshot::channel::<()>();
    let exposure = Exposure {
        address,
        telemetry_path: "/metrics".to_owned(),
        allow_unauthenticated: false,
        hostnames: vec!["x".to_owned()],
    };
    let task = tokio::spawn(async move {
        let serving = server.serve(router, exposure, async {
            let _gone = stopped.await;
        });
        serving.await.expect("it can be watched")
    });
    Running { address, stop, task }
}

fn bound(address: SocketAddr) -> Result<Server, BindError> {
    bind(address, Arc::new(AuthConfig::read(None).expect("nothing to read")))
}

fn short() -> Limits {
    Limits {
        connections: 4,
        header_read: Duration::from_millis(200),
        request: Duration::from_millis(500),
        drain: Duration::from_millis(300),
        ..Limits::default()
    }
}

fn quick() -> Router {
    Router::new().route("/", get(async || "hello"))
}

/// Sends `head` and reads until the server closes the connection.
async fn exchange(address: SocketAddr, head: &str) -> String {
    let mut stream = TcpStream::connect(address).await.expect("connected");
    stream.write_all(head.as_bytes()).await.expect("sent");
    let mut answer = String::new();
    let _reset = timeout(SOON, stream.read_to_string(&mut answer)).await.expect("an end in time");
    answer
}

async fn ask(address: SocketAddr, path: &str) -> String {
    exchange(address, &format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")).await
}

#[tokio::test]
async fn half_open_connections_are_shed_while_a_request_still_gets_its_answer() {
    let running = run(short(), quick()).await;
    let mut half_open = Vec::new();
    for number in 0..16 {
        let mut stream = TcpStream::connect(running.address).await.expect("connected");
        let start = if number % 2 == 0 { "" } else { "GET / HTTP/1.1\r\nhost:" };
        stream.write_all(start.as_bytes()).await.expect("sent");
        half_open.push(stream);
    }
    assert!(ask(running.address, "/").await.ends_with("hello"));
    for mut stream in half_open {
        let mut rest = Vec::new();
        let _reset = timeout(SOON, stream.read_to_end(&mut rest)).await.expect("it is shed");
    }
}

#[tokio::test]
async fn a_connection_kept_alive_is_let_go_when_no_further_request_comes() {
    let running = run(short(), quick()).await;
    let answer = exchange(running.address, "GET / HTTP/1.1\r\nhost: x\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 200") && answer.contains("hello"), "{answer}");
}

#[tokio::test]
async fn a_head_sent_drop_by_drop_is_shed_too() {
    let running = run(short(), quick()).await;
    let mut stream = TcpStream::connect(running.address).await.expect("connected");
    let began = Instant::now();
    while stream.write_all(b"G").await.is_ok() && began.elapsed() < SOON {
        sleep(Duration::from_millis(20)).await;
    }
    assert!(began.elapsed() < SOON, "it still reads");
}

#[tokio::test]
async fn over_the_cap_a_connection_waits_and_is_then_answered() {
    let limits = Limits { connections: 1, header_read: SOON, ..short() };
    let running = run(limits, quick()).await;
    let first = TcpStream::connect(running.address).await.expect("connected");
    let second = tokio::spawn(async move { ask(running.address, "/").await });
    sleep(Duration::from_millis(100)).await;
    assert!(!second.is_finished());
    drop(first);
    assert!(second.await.expect("an answer").ends_with("hello"));
}

#[tokio::test]
async fn a_client_that_does_not_read_loses_its_connection() {
    let endless = Router::new().route("/", get(async || "x".repeat(64 << 20)));
    let limits = Limits { connections: 1, unacknowledged: Duration::from_millis(300), ..short() };
    let running = run(limits, endless.route("/quick", get(async || "hello"))).await;
    let mut deaf = TcpStream::connect(running.address).await.expect("connected");
    deaf.write_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n").await.expect("sent");
    sleep(Duration::from_millis(100)).await;
    assert!(ask(running.address, "/quick").await.ends_with("hello"));
}

#[tokio::test]
async fn what_takes_too_long_or_is_too_large_is_refused() {
    let stuck = quick().route("/stuck", get(async || std::future::pending::<()>().await));
    let running = run(short(), stuck).await;
    assert!(ask(running.address, "/stuck").await.starts_with("HTTP/1.1 503"));
    let long = ask(running.address, &format!("/{}", "x".repeat(20_000))).await;
    assert!(long.starts_with("HTTP/1.1 431") || long.starts_with("HTTP/1.1 414"), "{long}");
    let body = "GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: 1000000\r\n\r\n";
    assert!(exchange(running.address, body).await.starts_with("HTTP/1.1 413"));
}

#[tokio::test]
async fn stopping_answers_what_is_in_progress_and_accepts_no_more() {
    let slow = Router::new().route(
        "/",
        get(async || {
            sleep(Duration::from_millis(150)).await;
            "done"
        }),
    );
    let running = run(Limits { header_read: SOON, ..short() }, slow).await;
    let address = running.address;
    let in_progress = tokio::spawn(async move { ask(address, "/").await });
    let _idle = TcpStream::connect(address).await.expect("connected");
    sleep(Duration::from_millis(50)).await;
    running.stop.send(()).expect("it runs");
    assert_eq!(timeout(SOON, running.task).await.expect("in time").expect("ended"), Drained { cut: 0 });
    assert!(in_progress.await.expect("an answer").ends_with("done"));
    assert!(TcpStream::connect(address).await.is_err());
}

#[tokio::test]
async fn stopping_answers_what_was_sent_and_not_read_yet() {
    let running = run(Limits { header_read: SOON, ..short() }, quick()).await;
    let ask = |keep: &str| {
        // Blocking, so that the server does not get a turn in between.
        let mut stream = std::net::TcpStream::connect(running.address).expect("connected");
        let head = format!("GET / HTTP/1.1\r\nhost: x\r\nconnection: {keep}\r\n\r\n");
        io::Write::write_all(&mut stream, head.as_bytes()).expect("sent");
        stream
    };
    let clients = [ask("close"), ask("keep-alive"), ask("close")];
    running.stop.send(()).expect("it runs");
    assert_eq!(timeout(SOON, running.task).await.expect("in time").expect("ended"), Drained { cut: 0 });
    for mut client in clients {
        let mut answer = String::new();
        io::Read::read_to_string(&mut client, &mut answer).expect("an answer");
        assert!(answer.ends_with("hello") && answer.contains("connection: close"), "{answer}");
    }
}

#[tokio::test]
async fn stopping_does_not_wait_for_ever() {
    let limits = Limits { request: SOON, ..short() };
    let stuck = Router::new().route("/", get(async || std::future::pending::<()>().await));
    let running = run(limits, stuck).await;
    let address = running.address;
    let _in_progress = tokio::spawn(async move { ask(address, "/").await });
    sleep(Duration::from_millis(50)).await;
    running.stop.send(()).expect("it runs");
    assert_eq!(timeout(SOON, running.task).await.expect("in time").expect("ended"), Drained { cut: 1 });
}

#[tokio::test]
async fn an_address_in_use_is_named_with_the_way_out() {
    let first = bound(ANY).expect("a free port");
    let error = bound(first.local_addr()).expect_err("it is taken");
    assert!(matches!(error, BindError::InUse(address) if address == first.local_addr()));
    let text = error.to_string();
    assert!(
        text.contains(&first.local_addr().to_string()) && text.contains("--web.listen-address"),
        "{text}"
    );
    let elsewhere: SocketAddr = "192.0.2.1:0".parse().expect("an address");
    assert!(matches!(bound(elsewhere), Err(BindError::NotLocal(_))));
}
