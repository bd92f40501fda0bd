//! A storm of events under many requests: all are stored and streamed in order, answers stay fast.
//!
//! To measure a machine: `cargo test --release --test storm -- --ignored --nocapture`.

#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "the figures of a test that passes are of interest, too"
)]

mod replay;

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use replay::{Replay, SECOND, Storm};

/// The answers to one client.
#[derive(Default)]
struct Answered {
    /// Duration of each answer from the time its request was due.
    took: Vec<Duration>,
    /// Number of answers with a status other than 200.
    refused: u64,
}

/// Sends requests at a steady pace over one connection.
/// Checks that no page of events is older than the events already streamed (`told`).
fn ask_steadily(
    address: SocketAddr,
    paths: [&'static str; 2],
    mut due: Instant,
    gap: Duration,
    until: Instant,
    told: &AtomicU64,
) -> Answered {
    let connect = || {
        let stream = TcpStream::connect(address).expect("it listens");
        stream.set_nodelay(true).expect("an option");
        BufReader::new(stream)
    };
    let (mut answers, mut answered) = (connect(), Answered::default());
    let mut body = Vec::new();
    for path in paths.iter().cycle() {
        if due >= until {
            break;
        }
        thread::sleep(due.saturating_duration_since(Instant::now()));
        let told = told.load(Ordering::Relaxed);
        let (mut length, mut line) = (0, String::new());
        let ask = format!("GET {path} HTTP/1.1\r\nhost: {address}\r\n\r\n");
        // The server closes a connection that was idle for seconds, as it may be for want of a CPU.
        while answers.get_ref().write_all(ask.as_bytes()).is_err()
            || answers.read_line(&mut line).unwrap_or(0) == 0
        {
            answers = connect();
        }
        answered.refused += u64::from(!line.contains(" 200 "));
        while line != "\r\n" {
            line.clear();
            assert!(answers.read_line(&mut line).expect("a header") > 0, "an answer is cut off");
            if let Some(value) = line.strip_prefix("content-length: ") {
                length = value.trim().parse().expect("a number");
            }
        }
        body.resize(length, 0);
        answers.read_exact(&mut body).expect("a body");
        answered.took.push(due.elapsed());
        due += gap;
        if path.contains("events") {
            assert!(newest(&body) >= told, "{} after {told} was streamed", newest(&body));
        }
    }
    answered
}

/// The sequence number of a page's first event; 0 if there is none.
fn newest(page: &[u8]) -> u64 {
    const NAME: &[u8] = b"\"seq\":";
    let at = page.windows(NAME.len()).position(|part| part == NAME);
    let digits = at.and_then(|at| page.get(at + NAME.len()..)).unwrap_or_default();
    digits
        .iter()
        .take_while(|digit| digit.is_ascii_digit())
        .fold(0, |number, digit| number * 10 + u64::from(digit - b'0'))
}

/// Reads the stream from the first event to the one numbered `last`.
/// Returns the number of events, and the gaps that the stream reported.
fn follow(
    address: SocketAddr,
    attached: u64,
    last: u64,
    told: Arc<AtomicU64>,
) -> JoinHandle<(u64, Vec<String>)> {
    let mut stream = TcpStream::connect(address).expect("it listens");
    let first = format!("{:x}-0", attached / (SECOND / 1000));
    write!(stream, "GET /api/v1/events/stream?cursor={first} HTTP/1.0\r\nhost: {address}\r\n\r\n")
        .expect("sent");
    thread::spawn(move || {
        let (mut came, mut missing, mut before) = (0, Vec::new(), 0);
        let mut lines = BufReader::new(stream).lines().map_while(Result::ok);
        while let Some(line) = lines.next() {
            if line == "event: lost" || line == "event: end" {
                missing.push(lines.by_ref().take(2).collect::<Vec<_>>().join(" "));
            } else if let Some(id) = line.strip_prefix("id: ") {
                let number: u64 =
                    id.split_once('-').and_then(|(_, number)| number.parse().ok()).expect("a number");
                assert_eq!(number, before + 1, "after {before}");
                before = number;
                told.fetch_max(number, Ordering::Relaxed);
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
    // A client waits for its answer, and requests within 10 ms share one snapshot: a few clients could not
    // send
    // as many requests.
    const CLIENTS: u32 = 32;
    let folder = tempfile::tempdir().expect("a folder");
    let replay = Replay::start(&storm.record(folder.path()), arguments, "serving");
    let (address, told) = (replay.address, Arc::<AtomicU64>::default());
    let follow = |_| follow(address, storm.attached(), storm.events(), Arc::clone(&told));
    let followers: Vec<_> = (0..streams).map(follow).collect();
    let (start, used) = (Instant::now(), replay.processor_time());
    let until = start + Duration::from_secs(storm.seconds);
    let gap = Duration::from_secs(1) * CLIENTS / requests_per_second;
    let paths = ["/api/v1/listeners", "/api/v1/events?limit=100"];
    // Stagger the clients: those in step would all share one snapshot.
    let client = |number| {
        let (told, first) = (Arc::clone(&told), start + gap * number / CLIENTS);
        thread::spawn(move || ask_steadily(address, paths, first, gap, until, &told))
    };
    let clients: Vec<_> = (0..CLIENTS).map(client).collect();
    let (mut took, mut refused) = (Vec::new(), 0);
    for client in clients {
        let answered = client.join().expect("it ended well");
        took.extend(answered.took);
        refused += answered.refused;
    }
    let (elapsed, used) = (start.elapsed(), replay.processor_time() - used);
    replay.wait_for(storm.events());
    for follower in followers {
        let (came, missing) = follower.join().expect("every event came, in order");
        assert_eq!(
            (came, missing),
            (storm.events(), Vec::new()),
            "every event was streamed, none said to be lost"
        );
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
        "{requests_per_second} requests/s asked for and {:.0} answered, while {} events/s came for {} s: from when each was \
         due p50 {:.1?}, p99 {:.1?}, p99.9 {:.1?}; {:.2} of a processor; RSS {} MiB, at most {} MiB; {} events stored, \
         {streams} streams of as many without a gap",
        took.len() as f64 / elapsed.as_secs_f64(),
        storm.events_per_second,
        storm.seconds,
        at(500),
        at(990),
        at(999),
        used.as_secs_f64() / elapsed.as_secs_f64(),
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
    assert!(
        p99 < Duration::from_millis(250),
        "{p99:?} from when they were due: fewer were answered than asked for"
    );
}
