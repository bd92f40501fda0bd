//! A daemon stopped under load: answers what it accepted, ends its streams, and exits with code 0.

mod replay;

use std::{
    io::{ErrorKind, Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    path::Path,
    process::ExitStatus,
    sync::{
        OnceLock,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use netqueue_daemon::{recording, web::Limits};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use replay::{Replay, Storm};
use serde_json::Value;

const STREAM: &str = "/api/v1/events/stream";
const RECORDING: &str = "/api/v1/recording";
/// Pages asked for: cheap ones, those that need a fresh snapshot, and one of several 100 kB.
const PAGES: [&str; 4] = ["/api/v1/events?limit=300", "/metrics", "/api/v1/status", "/-/healthy"];

const fn storm(run: u64, seconds: u64) -> Storm {
    Storm { run, seconds, events_per_second: 5000, listeners: 7 }
}

fn start(storm: &Storm, folder: &Path) -> Replay {
    let log = folder.join("log");
    Replay::start(&storm.record(folder), &["--event-log", log.to_str().expect("text")], "serving")
}

fn signal(replay: &Replay) {
    let pid = Pid::from_raw(replay.child.id().try_into().expect("a pid"));
    kill(pid, Signal::SIGTERM).expect("it runs");
}

/// Waits for the end of the daemon; returns how it ended and when, counted from `since`.
fn end(replay: &mut Replay, since: Instant) -> (ExitStatus, Duration) {
    let status = replay.child.wait().expect("it ends");
    (status, since.elapsed())
}

fn send(mut stream: &TcpStream, path: &str, connection: &str) -> std::io::Result<()> {
    let head = format!("GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: {connection}\r\n\r\n");
    stream.write_all(head.as_bytes())
}

/// Answer as far as a client has it.
#[derive(Debug)]
enum Answer {
    /// All of it, and whether the connection is kept.
    Whole { kept: bool },
    /// Nothing at all: the connection was refused or closed.
    Nothing,
    /// A part, or another status.
    Broken(String),
}

/// Returns the bytes that a body has in all; `None` as long as that cannot be told.
fn body_length(head: &str, body: &[u8]) -> Option<usize> {
    if let Some(length) = head.lines().find_map(|line| line.strip_prefix("content-length: ")) {
        return length.parse().ok();
    }
    assert!(head.contains("transfer-encoding: chunked"), "{head}");
    let mut at = 0;
    loop {
        let line = body.get(at..)?.windows(2).position(|end| end == b"\r\n")?;
        let size = std::str::from_utf8(&body[at..at + line]).expect("a size");
        let size = usize::from_str_radix(size, 16).expect("a size");
        at += line + 2 + size + 2;
        if size == 0 {
            return Some(at);
        }
    }
}

/// Reads one answer.
fn receive(mut stream: &TcpStream) -> Answer {
    let (mut read, mut part) = (Vec::new(), [0; 64 * 1024]);
    loop {
        if let Some(head) = read.windows(4).position(|end| end == b"\r\n\r\n") {
            let text = String::from_utf8_lossy(&read[..head]).to_ascii_lowercase();
            if !text.starts_with("http/1.1 200") {
                return Answer::Broken(text);
            }
            let body = &read[head + 4..];
            if body_length(&text, body) == Some(body.len()) {
                return Answer::Whole { kept: !text.contains("connection: close") };
            }
        }
        match stream.read(&mut part) {
            Ok(0) | Err(_) if read.is_empty() => return Answer::Nothing,
            Ok(0) => return Answer::Broken(format!("cut after {} bytes", read.len())),
            Err(error) => return Answer::Broken(format!("{error} after {} bytes", read.len())),
            Ok(bytes) => read.extend_from_slice(&part[..bytes]),
        }
    }
}

/// Time of the signal, and the number of requests sent before it and answered.
#[derive(Default)]
struct Load {
    signalled: OnceLock<Instant>,
    answered: AtomicUsize,
}

impl Load {
    /// Checks an answer to a request that was sent at `sent`; returns whether the connection is kept.
    fn check(&self, sent: Instant, path: &str, answer: &Answer) -> bool {
        match answer {
            Answer::Whole { kept } => {
                self.answered.fetch_add(1, Ordering::Relaxed);
                *kept
            }
            Answer::Nothing => {
                let before = self.signalled.get().is_none_or(|signalled| sent < *signalled);
                assert!(!before, "{path} was sent before the signal and not answered");
                false
            }
            Answer::Broken(how) => panic!("{path}: {how}"),
        }
    }

    /// Asks again and again, over connections that are kept or not, until none is accepted.
    fn ask(&self, address: SocketAddr, connection: &str) {
        for pages in (0..).map(|turn| &PAGES[turn % PAGES.len()..]) {
            let stream = match TcpStream::connect(address) {
                Ok(stream) => stream,
                Err(error) => {
                    assert!(self.signalled.get().is_some(), "not accepted before the signal: {error}");
                    assert!(matches!(
                        error.kind(),
                        ErrorKind::ConnectionRefused | ErrorKind::ConnectionReset
                    ));
                    return;
                }
            };
            for path in pages {
                let sent = send(&stream, path, connection).map(|()| Instant::now());
                let Ok(sent) = sent else { break };
                if !self.check(sent, path, &receive(&stream)) {
                    break;
                }
            }
        }
    }
}

fn follow(address: SocketAddr, path: &str) -> TcpStream {
    let stream = TcpStream::connect(address).expect("it listens");
    send(&stream, path, "close").expect("sent");
    let mut first = [0; 12];
    (&stream).read_exact(&mut first).expect("it begins");
    assert_eq!(&first, b"HTTP/1.1 200");
    stream
}

/// Reads a stream to its end, which must be that of its last chunk.
fn rest(mut stream: &TcpStream) -> String {
    let mut text = Vec::new();
    stream.read_to_end(&mut text).expect("it ends");
    let text = String::from_utf8(text).expect("text");
    assert!(text.ends_with("\r\n0\r\n\r\n"), "cut: {:?}", text.get(text.len().saturating_sub(200)..));
    text
}

/// Returns the number of the newest event in a stream that ended as it should.
fn newest(text: &str) -> u64 {
    let (events, end) = text.rsplit_once("event: end\n").expect("an end");
    assert!(end.contains("\"reason\":\"stopping\""), "{end}");
    let id = events.rsplit("\nid: ").next().and_then(|id| id.lines().next()).expect("an id");
    id.rsplit('-').next().and_then(|number| number.parse().ok()).expect("a number")
}

#[test]
fn stopped_under_load_every_request_is_answered_and_every_stream_has_its_end() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut replay = start(&storm(0, 15), folder.path());
    replay.wait_for(2000);
    let (address, load) = (replay.address, Load::default());
    let took = thread::scope(|threads| {
        let streams: Vec<_> = (0..4).map(|_| follow(address, STREAM)).collect();
        let recording = follow(address, RECORDING);
        let streams: Vec<_> =
            streams.into_iter().map(|stream| threads.spawn(move || newest(&rest(&stream)))).collect();
        let recording = threads.spawn(move || rest(&recording));
        for connection in ["close", "keep-alive", "close", "keep-alive"] {
            let load = &load;
            threads.spawn(move || load.ask(address, connection));
        }
        thread::sleep(Duration::from_millis(1500));

        // A pile of requests, sent and not yet read when the signal comes.
        let idle = TcpStream::connect(address).expect("it listens");
        let pile: Vec<_> = (0..40)
            .map(|number| {
                let stream = TcpStream::connect(address).expect("it listens");
                send(&stream, PAGES[number % PAGES.len()], "close").expect("sent");
                (stream, PAGES[number % PAGES.len()], Instant::now())
            })
            .collect();
        load.signalled.set(Instant::now()).expect("once");
        signal(&replay);
        pile.iter().for_each(|(stream, path, sent)| {
            load.check(*sent, path, &receive(stream));
        });
        let told = streams.into_iter().map(|stream| stream.join().expect("an end")).max().expect("streams");
        let recording = recording.join().expect("an end");
        assert!(recording.trim_end_matches("\r\n0\r\n\r\n").trim_end().ends_with(recording::END));
        let (status, took) = end(&mut replay, load.signalled.get().copied().expect("it was sent"));
        assert_eq!(status.code(), Some(0));
        drop(idle);

        // The event log has all that was told, and ends as one of a daemon that was stopped.
        let again = start(&storm(1, 0), folder.path());
        let kept = again.ask("/api/v1/status")["data"]["event_log"]["read_back"].as_u64().expect("a number");
        assert!(kept >= told && told > 2000, "{kept} kept, {told} told");
        let events = again.ask("/api/v1/events?limit=1");
        let gaps = events["coverage"]["gaps"].as_array().expect("a list");
        assert!(gaps.iter().all(|gap: &Value| gap["reason"] != "killed"), "{gaps:?}");
        took
    });
    assert!(took < Limits::default().drain, "{took:?}");
    println!("{} answered, stopped within {} ms", load.answered.load(Ordering::Relaxed), took.as_millis());
}

#[test]
fn a_second_signal_cuts_what_is_left_and_the_end_is_in_order_all_the_same() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut replay = start(&storm(0, 15), folder.path());
    replay.wait_for(1000);
    let mut slow = TcpStream::connect(replay.address).expect("it listens");
    slow.write_all(b"GET /api/v1/status HTTP/1.1\r\nhost:").expect("sent");
    thread::sleep(Duration::from_millis(100));
    signal(&replay);
    thread::sleep(Duration::from_millis(700));
    assert_eq!(replay.child.try_wait().expect("known"), None, "a request under way is waited for");
    let second = Instant::now();
    signal(&replay);
    let (status, took) = end(&mut replay, second);
    assert_eq!(status.code(), Some(0));
    assert!(took < Duration::from_secs(2), "{took:?}");
    let again = start(&storm(1, 0), folder.path());
    let events = again.ask("/api/v1/events?limit=1");
    let gaps = events["coverage"]["gaps"].as_array().expect("a list");
    assert!(gaps.iter().all(|gap: &Value| gap["reason"] != "killed"), "{gaps:?}");
}
