//! All surfaces on one server, assembled as in `app`, queried over a real socket.

use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::Arc,
};

use netqueue_daemon::{
    api, delivery, metrics,
    snapshots::{self, Request},
    ui, web,
};
use netqueue_domain::{Aggregator, AggregatorSettings, Netns, Timestamp};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

async fn ask(address: SocketAddr, method: &str, path: &str) -> String {
    let mut stream = TcpStream::connect(address).await.expect("connected");
    let head = format!("{method} {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n");
    stream.write_all(head.as_bytes()).await.expect("sent");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.expect("an answer");
    answer
}

#[tokio::test]
async fn every_surface_answers_on_one_port_and_stops_when_told() {
    let settings =
        AggregatorSettings { event_memory: 1 << 20, ..AggregatorSettings::of(Netns::at_attach(1)) };
    let aggregator = Aggregator::new(settings, Timestamp::from_nanos(1));
    let (mut publisher, snapshots) = snapshots::channel(aggregator.snapshot(Timestamp::from_nanos(2)));
    let fresh = Arc::new(aggregator.snapshot(Timestamp::from_nanos(3)));
    tokio::spawn(async move {
        while let Some(request) = publisher.request().await {
            if let Request::Picture(asked) = request {
                asked.answer(fresh.clone());
            }
        }
    });

    let router = api::router(snapshots.clone()).merge(ui::router("/telemetry")).merge(metrics::router(
        snapshots,
        "/telemetry",
        delivery::DeliveryMetrics::new().expect("counters").collector(),
    ));
    let secured = Arc::new(web::AuthConfig::read(None).expect("nothing to read"));
    let server = web::bind((Ipv4Addr::LOCALHOST, 0).into(), secured).expect("a free port");
    let address = server.local_addr();
    let exposure = web::Exposure {
        address,
        telemetry_path: "/telemetry".to_owned(),
        allow_unauthenticated: false,
        hostnames: Vec::new(),
    };
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let serving = tokio::spawn(server.serve(router, exposure, async {
        let _gone = stopped.await;
    }));

    for (method, path, start, holds) in [
        ("GET", "/telemetry", "HTTP/1.1 200", "\nnetqueue_events_total{kind=\"drop\"} 0\n"),
        ("POST", "/telemetry", "HTTP/1.1 405", "allow: GET,HEAD"),
        ("GET", "/api/v1/status", "HTTP/1.1 200", "\"taken\":\"1970-01-01T00:00:00.000000003Z\""),
        ("GET", "/-/healthy", "HTTP/1.1 200", "netqueue is healthy"),
        ("GET", "/-/ready", "HTTP/1.1 503", "no probe has been attached yet"),
        ("GET", "/", "HTTP/1.1 200", "href=\"telemetry\""),
        ("GET", "/metrics", "HTTP/1.1 404", "application/problem+json"),
    ] {
        let answer = ask(address, method, path).await;
        assert!(answer.starts_with(start) && answer.contains(holds), "{method} {path}: {answer}");
    }
    stop.send(()).expect("it serves");
    assert_eq!(serving.await.expect("ended").expect("it served"), web::Drained { cut: 0 });
}
