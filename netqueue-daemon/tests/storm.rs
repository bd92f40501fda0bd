//! A storm of events while many ask: every event reaches the store and the stream, in order, and answers stay quick.
//!
//! The figures for a machine: `cargo test --release --test storm -- --ignored --nocapture`.

mod replay;

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use replay::{Replay, Storm};

/// Asks at a steady pace over one connection. Gives how long each answer took from when it was due, and what was no answer.
fn ask_steadily(
    address: SocketAddr,
    paths: [&'static str; 2],
    gap: Duration,
    until: Instant,
) -> (Vec<Duration>, u64) {
    let stream = TcpStream::connect(address).expect("it listens");
    stream.set_nodelay(true).expect("an option");
    let mut answers = BufReader::new(stream.try_clone().expect("a handle"));
    let (mut stream, mut took, mut refused, mut due) = (stream, Vec::new(), 0, Instant::now());
    for path in paths.iter().cycle() {
        if due >= until {
            break;
        }
        thread::sleep(due.saturating_duration_since(Instant::now()));
        write!(stream, "GET {path} HTTP/1.1\r\nhost: {address}\r\n\r\n").expect("sent");
        let (mut length, mut line) = (0, String::new());
        answers.read_line(&mut line).expect("a status");
        refused += u64::from(!line.contains(" 200 "));
        while line != "\r\n" {
            line.clear();
            answers.read_line(&mut line).expect("a header");
            if let Some(value) = line.strip_prefix("content-length: ") {
                length = value.trim().parse().expect("a number");
            }
        }
        answers.read_exact(&mut vec![0; length]).expect("a body");
        took.push(due.elapsed());
        due += gap;
    }
    (took, refused)
}

/// Reads the stream until the event with that number. Gives how many came, and what was said to be missing.
fn follow(address: SocketAddr, last: u64) -> JoinHandle<(u64, Vec<String>)> {
    let mut stream = TcpStream::connect(address).expect("it listens");
    write!(stream, "GET /api/v1/events/stream HTTP/1.0\r\nhost: {address}\r\n\r\n").expect("sent");
    thread::spawn(move || {
        let (mut came, mut missing, mut before) = (0, Vec::new(), None);
        let mut lines = BufReader::new(stream).lines().map_while(Result::ok);
        while let Some(line) = lines.next() {
            if line == "event: lost" || line == "event: end" {
                missing.push(lines.by_ref().take(2).collect::<Vec<_>>().join(" "));
            } else if let Some(id) = line.strip_prefix("id: ") {
                let number: u64 =
                    id.split_once('-').and_then(|(_, number)| number.parse().ok()).expect("a number");
                assert!(before.is_none_or(|before| number == before + 1), "{before:?} then {number}");
                before = Some(number);
                came += 1;
                if number == last {
                    break;
                }
            }
        }
        (came, missing)
    })
}

fn weather(storm: Storm, requests_per_second: u32, streams: usize, arguments: &[&str]) -> Duration {
    const CLIENTS: u32 = 8;
    let folder = tempfile::tempdir().expect("a folder");
    let replay = Replay::start(&storm.record(folder.path()), arguments, "serving");
    let followers: Vec<_> = (0..streams).map(|_| follow(replay.address, storm.events())).collect();
    let until = Instant::now() + Duration::from_secs(storm.seconds);
    let gap = Duration::from_secs(1) * CLIENTS / requests_per_second;
    let paths = ["/api/v1/listeners", "/api/v1/events?limit=100"];
    let address = replay.address;
    let clients: Vec<_> =
        (0..CLIENTS).map(|_| thread::spawn(move || ask_steadily(address, paths, gap, until))).collect();
    let (mut took, mut refused) = (Vec::new(), 0);
    for client in clients {
        let (some, not) = client.join().expect("it ended well");
        took.extend(some);
        refused += not;
    }
    replay.wait_for(storm.events());
    for follower in followers {
        let (came, missing) = follower.join().expect("every event came, in order");
        // Some may have passed before it was there.
        assert!(missing.is_empty() && came + storm.events_per_second > storm.events(), "{came} {missing:?}");
    }
    let status = &replay.ask("/api/v1/status")["data"];
    assert_eq!(status["events"]["stored"], storm.events());
    let listeners = replay.ask("/api/v1/listeners");
    let listeners = listeners["data"]["listeners"].as_array().expect("a list");
    let drops: u64 = listeners.iter().map(|one| one["drops"]["total"].as_u64().expect("a total")).sum();
    assert_eq!(drops, storm.events(), "counts and events agree");
    assert_eq!(refused, 0, "of {}", took.len());
    took.sort_unstable();
    let at = |part: usize| took[(took.len() - 1) * part / 1000];
    let (memory, most) = replay.memory();
    println!(
        "{} requests in {} s while {} events/s came: p50 {:.1?}, p99 {:.1?}, p99.9 {:.1?}; RSS {} MiB, at most {} MiB; \
         {streams} streams of {} events each without a gap",
        took.len(),
        storm.seconds,
        storm.events_per_second,
        at(500),
        at(990),
        at(999),
        memory >> 10,
        most >> 10,
        storm.events(),
    );
    assert!(status["memory"]["event_bytes"].as_u64().is_some_and(|bytes| bytes <= 16 << 20), "{status}");
    at(990)
}

#[test]
fn in_a_storm_nothing_is_lost_on_the_way_to_those_who_ask_and_those_who_follow() {
    let storm = Storm { run: 0, seconds: 6, events_per_second: 2000, listeners: 50 };
    weather(storm, 100, 3, &[]);
}

#[test]
#[ignore = "takes a minute and the whole machine, and wants a release build"]
fn a_thousand_requests_a_second_while_twenty_thousand_events_come() {
    let storm = Storm { run: 0, seconds: 30, events_per_second: 20_000, listeners: 100 };
    let p99 = weather(storm, 1000, 3, &[]);
    assert!(p99 < Duration::from_millis(250), "{p99:?}");
}
