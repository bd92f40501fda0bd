//! A daemon killed in the middle of writing its event log: the log comes back, at most its last second missing, and said so.

use std::fs::File;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use netqueue_daemon::domain::{
    AccountKey, DropKind, Endpoint, Event, Netns, Observation, Observed, Peer, QueueState, Queues, SocketId,
    Timestamp, What,
};
use netqueue_daemon::recording::{self, Header, Writer};
use serde_json::Value;

const HOST: Netns = Netns::at_attach(4_026_531_840);
/// Observations in a second of the storm, and events in each.
const STEPS: u64 = 50;
const EVENTS: u64 = 200;
const SECOND: u64 = 1_000_000_000;

fn attached(run: u64) -> u64 {
    (1_790_000_000 + run * 1000) * SECOND
}

/// The event with this number of a run.
fn event(run: u64, number: u64) -> Event {
    let place = Endpoint { netns: HOST, addr: Ipv4Addr::UNSPECIFIED.into(), port: 80 };
    Event {
        time: Timestamp::from_nanos(attached(run) + number * SECOND / (STEPS * EVENTS)),
        account: AccountKey::Listener { socket: SocketId(number % 7), at: place },
        local_port: 80,
        peer: Some(Peer { addr: Ipv4Addr::from_bits(0x0a00_0000 + number as u32).into(), port: 4000 }),
        what: What::Drop(DropKind::AcceptQueueFullSyn),
        kernel_reason: None,
        queues: Queues { accept: Some(QueueState { length: 9, limit: 8 }), syn: None },
        cpu: 0,
        age: None,
    }
}

/// A recording of a storm that lasts so long.
fn storm(folder: &Path, run: u64, seconds: u64) -> PathBuf {
    let path = folder.join(format!("storm-{run}.nqr"));
    let mut writer = Writer::new(File::create(&path).expect("a file"));
    let header = Header::new("test".to_owned(), HOST, Timestamp::from_nanos(attached(run)));
    writer.line(&serde_json::to_vec(&header).expect("JSON")).expect("written");
    for step in 0..seconds * STEPS {
        let events: Vec<_> =
            (step * EVENTS + 1..=(step + 1) * EVENTS).map(|number| event(run, number)).collect();
        let time = events.last().expect("there are some").time;
        let observed = Observed { time, what: Observation::Events(events) };
        writer.line(&serde_json::to_vec(&observed).expect("JSON")).expect("written");
    }
    writer.line(recording::END.as_bytes()).expect("written");
    writer.finish().expect("written");
    path
}

/// A daemon on a recording; killed, as by `kill -9`, when dropped.
struct Replay {
    child: Child,
    address: SocketAddr,
}

impl Drop for Replay {
    fn drop(&mut self) {
        let _gone = self.child.kill();
        let _reaped = self.child.wait();
    }
}

impl Replay {
    fn start(recording: &Path, log: &Path) -> Self {
        let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).and_then(|listener| listener.local_addr());
        let address = free.expect("a free port");
        let mut child = Command::new(env!("CARGO_BIN_EXE_netqueue"))
            .args(["replay".as_ref(), recording.as_os_str(), "--event-log".as_ref(), log.as_os_str()])
            .args(["--web.listen-address", &address.to_string()])
            .stderr(Stdio::piped())
            .spawn()
            .expect("it runs");
        let mut log = BufReader::new(child.stderr.take().expect("its log")).lines();
        let serving = log.by_ref().map_while(Result::ok).any(|line| line.contains("serving"));
        assert!(serving, "the replay ended before it served");
        std::thread::spawn(move || log.for_each(drop));
        Self { child, address }
    }

    fn ask(&self, path: &str) -> Value {
        let mut stream = TcpStream::connect(self.address).expect("it listens");
        write!(stream, "GET {path} HTTP/1.0\r\nhost: {}\r\n\r\n", self.address).expect("sent");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("answered");
        let (_, body) = answer.split_once("\r\n\r\n").expect("HTTP");
        serde_json::from_str(body).expect("JSON")
    }

    /// The newest event, once there are so many of this run.
    fn newest_of(&self, least: u64) -> Value {
        let start = Instant::now();
        loop {
            let stored = self.ask("/api/v1/status")["data"]["events"]["stored"].as_u64().expect("a number");
            if stored >= least {
                return self.ask("/api/v1/events?limit=1")["data"]["events"][0].clone();
            }
            assert!(start.elapsed() < Duration::from_secs(60), "{stored} of {least}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Every event held, oldest first.
    fn all(&self) -> Vec<Value> {
        let (mut all, mut path) = (Vec::new(), "/api/v1/events?order=asc&limit=1000".to_owned());
        loop {
            let page = self.ask(&path);
            let events = page["data"]["events"].as_array().expect("a list");
            if events.is_empty() {
                return all;
            }
            all.extend(events.iter().cloned());
            let next = page["data"]["next"].as_str().expect("a cursor");
            path = format!("/api/v1/events?order=asc&limit=1000&cursor={next}");
        }
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
        let replay = Replay::start(&storm(folder.path(), run, 6), &log);
        // Some seconds into the storm, each time elsewhere in the writer's half second.
        newest.push(replay.newest_of(15_000 + run * 1_700));
        last_cursor =
            replay.ask("/api/v1/events?order=asc&limit=1")["data"]["next"].as_str().expect("one").to_owned();
        drop(replay);
    }
    let replay = Replay::start(&storm(folder.path(), 9, 0), &log);
    let all = replay.all();

    // The numbers of all runs are one sequence without a gap; what each run saw is there from its first event on.
    assert!(all.iter().map(|event| event["seq"].as_u64().expect("a number")).eq(1..=all.len() as u64));
    let mut rest = &all[..];
    for (run, newest) in newest.iter().enumerate() {
        let run = run as u64;
        let until = rest.iter().position(|event| nanos(event) >= attached(run + 1)).unwrap_or(rest.len());
        let (own, others) = rest.split_at(until);
        rest = others;
        for (number, held) in (1..).zip(own) {
            let wrote = event(run, number);
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

    // It is said what may be missing, and where.
    let answer = replay.ask("/api/v1/events?limit=1");
    let gaps = answer["coverage"]["gaps"].as_array().expect("a list");
    assert_eq!(gaps.len(), 3, "{gaps:?}");
    assert!(gaps.iter().all(|gap| gap["reason"] == "killed"), "{gaps:?}");
    assert_eq!(gaps[2]["after"], all.len() as u64);
    let log = &replay.ask("/api/v1/status")["data"]["event_log"];
    assert_eq!(log["read_back"], all.len() as u64);

    // A client that had read up to somewhere in the last run goes on from there.
    let number: u64 =
        last_cursor.split_once('-').and_then(|(_, number)| number.parse().ok()).expect("a number");
    let page = replay.ask(&format!("/api/v1/events?order=asc&limit=1&cursor={last_cursor}"));
    assert_eq!(page["data"]["events"][0]["seq"], number + 1);
}
