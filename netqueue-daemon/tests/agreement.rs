//! One recording, every surface: the API, the command line and the metrics page say the same numbers.
//!
//! The recording is of `netqueue lab demo` on a stock 6.12 kernel; the page shows what the API says, see `ui/page`.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};

use serde_json::Value;

const RECORDING: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/recordings/demo-6.12.nqr");

/// A daemon on the recording, at its end; killed when dropped.
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
    fn start() -> Self {
        // The port is free a moment later too, or the replay says that it is not and the test fails.
        let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).and_then(|listener| listener.local_addr());
        let address = free.expect("a free port");
        let mut child = Command::new(env!("CARGO_BIN_EXE_netqueue"))
            .args(["replay", RECORDING, "--speed", "max", "--web.listen-address", &address.to_string()])
            .stderr(Stdio::piped())
            .spawn()
            .expect("it runs");
        let log = BufReader::new(child.stderr.take().expect("its log"));
        let replay = Self { child, address };
        let mut said = Vec::new();
        for line in log.lines().map_while(Result::ok) {
            // From here on nothing moves any more.
            if line.contains("the recording is at its end") {
                return replay;
            }
            said.push(line);
        }
        panic!("the replay ended before its recording: {said:?}")
    }

    fn text(&self, path: &str) -> Option<String> {
        let mut stream = TcpStream::connect(self.address).ok()?;
        write!(stream, "GET {path} HTTP/1.0\r\nhost: {}\r\n\r\n", self.address).ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        answer.split_once("\r\n\r\n").map(|(_, body)| body.to_owned())
    }

    fn ask(&self, path: &str) -> Option<Value> {
        serde_json::from_str(&self.text(path)?).ok()
    }

    fn netqueue(&self, args: &[&str]) -> String {
        let mut command = Command::new(env!("CARGO_BIN_EXE_netqueue"));
        let output = command.args(args).args(["--server", &format!("http://{}", self.address)]).output();
        let output = output.expect("it runs");
        assert!(output.stderr.is_empty(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).expect("text")
    }
}

fn number(text: &str) -> u64 {
    text.replace(',', "").parse().unwrap_or_else(|_| panic!("{text:?} is no number"))
}

/// The sum of a metric's series, by address and port.
fn metric(page: &str, name: &str) -> BTreeMap<(String, String), u64> {
    let mut sums = BTreeMap::new();
    for line in page.lines().filter(|line| line.starts_with(&format!("{name}{{"))) {
        let label =
            |name: &str| line.split(&format!("{name}=\"")).nth(1).and_then(|rest| rest.split('"').next());
        let place =
            (label("addr").unwrap_or_default().to_owned(), label("port").unwrap_or_default().to_owned());
        let value = line.rsplit(' ').next().and_then(|value| value.parse::<f64>().ok()).expect(line);
        *sums.entry(place).or_default() += value as u64;
    }
    sums.retain(|_, sum| *sum > 0);
    sums
}

/// The same from the API's accounts.
fn accounts(listeners: &[Value], what: &str) -> BTreeMap<(String, String), u64> {
    let mut sums = BTreeMap::new();
    for one in listeners {
        let addr = one["addr"].as_str().unwrap_or_default().to_owned();
        let port = one["port"].as_u64().map_or_else(|| "ephemeral".to_owned(), |port| port.to_string());
        *sums.entry((addr, port)).or_default() += one[what]["total"].as_u64().expect("a total");
    }
    sums.retain(|_, sum| *sum > 0);
    sums
}

#[test]
fn every_surface_says_the_same_numbers() {
    let replay = Replay::start();
    let answer = replay.ask("/api/v1/listeners").expect("listeners");
    let listeners = answer["data"]["listeners"].as_array().expect("a list");
    let total =
        |what: &str| listeners.iter().map(|one| one[what]["total"].as_u64().expect("a total")).sum::<u64>();
    let (drops, resets) = (total("drops"), total("resets"));
    assert!(drops > 500 && resets > 500, "the recording holds an incident: {drops} drops, {resets} resets");

    // What is charged is what the parts say, and what the counters' parts say.
    for one in listeners {
        let parts = |what: &str| {
            let parts = one[what]["by_cause"].as_array().expect("a list");
            parts.iter().map(|part| part["count"].as_u64().expect("a count")).sum::<u64>()
        };
        assert_eq!(one["drops"]["total"], parts("drops"), "{one}");
        assert_eq!(one["drops"]["total"], one["counters"]["ListenDrops"], "{one}");
        assert_eq!(one["resets"]["total"], parts("resets"), "{one}");
    }

    let page = replay.text("/metrics").expect("metrics");
    assert_eq!(metric(&page, "netqueue_listen_drops_total"), accounts(listeners, "drops"));
    assert_eq!(metric(&page, "netqueue_resets_sent_total").values().sum::<u64>(), resets);

    // The command line, as a person reads it.
    let table = replay.netqueue(&["listeners"]);
    let (mut dropped, mut reset) = (0, 0);
    for line in table.lines().filter(|line| line.contains(" id:")) {
        let words: Vec<_> = line.split_whitespace().collect();
        let id = words.iter().position(|word| word.starts_with("id:")).expect("an id");
        let count = |word: &str| if word == "-" { 0 } else { number(word) };
        dropped += count(words[id - 2]);
        reset += count(words[id - 1]);
    }
    assert_eq!((dropped, reset), (drops, resets), "{table}");
    let table = replay.netqueue(&["resets"]);
    let rows = table.lines().skip(1).take_while(|line| !line.is_empty());
    let sum: u64 = rows.map(|line| number(line.split_whitespace().next().expect("a count"))).sum();
    assert_eq!(sum, resets, "{table}");

    let worst = listeners.iter().max_by_key(|one| one["drops"]["total"].as_u64()).expect("a listener");
    let id = worst["id"].as_str().expect("an id");
    let story = replay.netqueue(&["explain", &format!("id:{id}")]);
    let said = story.split("Dropped ").nth(1).and_then(|rest| rest.split(' ').next()).expect("a sentence");
    assert_eq!(number(said), worst["drops"]["total"].as_u64().expect("a total"), "{story}");

    let status = replay.ask("/api/v1/status").expect("a status");
    let report = replay.netqueue(&["status"]);
    let seen =
        report.split("Events").nth(1).and_then(|rest| rest.split_whitespace().nth(1)).expect("a number");
    assert_eq!(number(seen), status["data"]["events"]["seen"].as_u64().expect("a number"), "{report}");
    let events: Value =
        serde_json::from_str(&replay.netqueue(&["events", "--json", "-n", "1000"])).expect("JSON");
    let held = replay.ask("/api/v1/events?limit=1000").expect("events");
    assert_eq!(events["data"]["events"], held["data"]["events"]);
}
