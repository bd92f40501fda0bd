//! Checks that every surface reports equal numbers: the API, the command line, the page, the metrics.
//! The input is recordings of `netqueue lab demo` on stock kernels.

mod replay;

use std::{collections::BTreeMap, fs::File, path::PathBuf};

use netqueue_daemon::recording::Reader;
use netqueue_domain::Observation;
use replay::{Replay, Storm};
use serde_json::Value;

/// The kernels on which the recordings were made.
const KERNELS: [&str; 4] = ["5.10", "6.1", "6.12", "7.2"];

fn recording(kernel: &str) -> PathBuf {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/recordings");
    [folder, &format!("demo-{kernel}.nqr")].iter().collect()
}

/// Sums a metric's series by the values of one label.
fn metric_by(page: &str, name: &str, label: &str) -> BTreeMap<String, i64> {
    let mut sums = BTreeMap::new();
    for line in page.lines().filter(|line| line.starts_with(&format!("{name}{{"))) {
        let value = line.rsplit(' ').next().and_then(|value| value.parse::<f64>().ok()).expect(line);
        let label = line.split(&format!("{label}=\"")).nth(1).and_then(|rest| rest.split('"').next());
        *sums.entry(label.unwrap_or_default().to_owned()).or_default() += value as i64;
    }
    sums.retain(|_, sum| *sum != 0);
    sums
}

/// Sums a list of numbers by name, and leaves out zeros.
fn sums<'a>(parts: impl IntoIterator<Item = (&'a str, i64)>) -> BTreeMap<String, i64> {
    let mut sums = BTreeMap::new();
    parts.into_iter().for_each(|(name, value)| *sums.entry(name.to_owned()).or_default() += value);
    sums.retain(|_, sum| *sum != 0);
    sums
}

fn whole(value: &Value) -> i64 {
    value.as_i64().unwrap_or_else(|| panic!("{value} is no number"))
}

fn list<'a>(value: &'a Value, what: &str) -> &'a [Value] {
    value[what].as_array().unwrap_or_else(|| panic!("no list {what} in {value}"))
}

fn number(text: &str) -> u64 {
    text.replace(',', "").parse().unwrap_or_else(|_| panic!("{text:?} is no number"))
}

/// Sums a metric's series by address and port.
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

/// Sums the API's accounts by address and port.
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
    for kernel in KERNELS {
        println!("recorded on {kernel}");
        let replay = Replay::start(&recording(kernel), &["--speed", "max"], "end of recording");
        totals(&replay);
        parts(&replay, kernel);
    }
}

#[test]
fn what_a_recording_does_not_tell_is_unknown_on_every_surface_and_nowhere_0() {
    let folder = tempfile::tempdir().expect("a folder");
    let storm = Storm { run: 0, seconds: 1, events_per_second: 100, listeners: 2 };
    let recording = storm.record(folder.path());
    let replay = Replay::start(&recording, &["--speed", "max"], "end of recording");
    replay.wait_for(storm.events());
    let answer = replay.ask("/api/v1/listeners");
    let listeners = list(&answer["data"], "listeners");
    assert!(listeners.len() == 2 && listeners.iter().all(|one| one["traffic"].is_null()), "{answer}");
    for measure in ["established", "accepted"] {
        let answer = replay.ask(&format!("/api/v1/timeseries?measure={measure}"));
        assert!(list(&answer["data"], "series").is_empty(), "{answer}");
    }
    let page = replay.text("/metrics");
    let of_traffic = [
        "netqueue_connections_",
        "netqueue_accept_wait_",
        "netqueue_synack_retransmits",
        "netqueue_syn_queue_peak",
    ];
    let told = page.lines().find(|line| of_traffic.iter().any(|name| line.starts_with(name)));
    assert!(told.is_none() && page.contains("netqueue_listen_drops_total{"), "{told:?}");
    let story = replay.netqueue(&["explain", "id:1"]);
    assert!(story.contains("Dropped 50 ") && !story.contains("entered"), "{story}");
}

fn totals(replay: &Replay) {
    let answer = replay.ask("/api/v1/listeners");
    let listeners = answer["data"]["listeners"].as_array().expect("a list");
    let total =
        |what: &str| listeners.iter().map(|one| one[what]["total"].as_u64().expect("a total")).sum::<u64>();
    let (drops, resets) = (total("drops"), total("resets"));
    assert!(drops > 200 && resets > 100, "the recording holds an incident: {drops} drops, {resets} resets");

    // The total of each account equals the sum of its causes, and its counters agree.
    for one in listeners {
        let parts = |what: &str| {
            let parts = one[what]["by_cause"].as_array().expect("a list");
            parts.iter().map(|part| part["count"].as_u64().expect("a count")).sum::<u64>()
        };
        assert_eq!(one["drops"]["total"], parts("drops"), "{one}");
        assert_eq!(one["drops"]["total"], one["counters"]["ListenDrops"], "{one}");
        assert_eq!(one["resets"]["total"], parts("resets"), "{one}");
    }

    let page = replay.text("/metrics");
    assert_eq!(metric(&page, "netqueue_listen_drops_total"), accounts(listeners, "drops"));
    assert_eq!(metric(&page, "netqueue_resets_sent_total").values().sum::<u64>(), resets);

    // The table of the command line.
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

    let status = replay.ask("/api/v1/status");
    let report = replay.netqueue(&["status"]);
    let seen =
        report.split("Events").nth(1).and_then(|rest| rest.split_whitespace().nth(1)).expect("a number");
    assert_eq!(number(seen), status["data"]["events"]["seen"].as_u64().expect("a number"), "{report}");
    let events: Value =
        serde_json::from_str(&replay.netqueue(&["events", "--json", "-n", "1000"])).expect("JSON");
    let held = replay.ask("/api/v1/events?limit=1000");
    assert_eq!(events["data"]["events"], held["data"]["events"]);
}

/// Compares the surfaces by cause, by counter, over time, and in traffic.
fn parts(replay: &Replay, kernel: &str) {
    let page = replay.text("/metrics");
    let answer = replay.ask("/api/v1/listeners");
    let listeners = list(&answer["data"], "listeners");
    let by_cause = |what: &str| {
        let parts = listeners.iter().flat_map(|one| list(&one[what], "by_cause"));
        sums(parts.map(|part| (part["cause"].as_str().expect("a cause"), whole(&part["count"]))))
    };
    let (drops, resets) = (by_cause("drops"), by_cause("resets"));
    assert_eq!(metric_by(&page, "netqueue_listen_drops_total", "cause"), drops);
    assert_eq!(metric_by(&page, "netqueue_resets_sent_total", "cause"), resets);
    let kinds = metric_by(&page, "netqueue_events_total", "kind");
    assert_eq!(kinds, sums([("drop", drops.values().sum()), ("reset", resets.values().sum())]));

    // The kernel's counts and the residuals, which are zero.
    let status = replay.ask("/api/v1/status");
    let counters = list(&status["data"], "reconciliation").iter().flat_map(|one| {
        one["counters"].as_object().expect("counters").iter().map(|(name, value)| (name.as_str(), value))
    });
    let residual = sums(counters.clone().map(|(name, value)| (name, whole(&value["residual"]))));
    assert_eq!(metric_by(&page, "netqueue_residual", "counter"), residual);
    assert!(residual.is_empty(), "{kernel}: {residual:?}");
    let counted = sums(counters.map(|(name, value)| (name, whole(&value["kernel"]))));
    assert_eq!(metric_by(&page, "netqueue_kernel_mib_total", "counter"), counted);

    // Healthy traffic, which these recordings contain.
    let through = |what: &str| {
        listeners
            .iter()
            .filter(|one| !one["traffic"].is_null())
            .map(|one| whole(&one["traffic"][what]))
            .sum::<i64>()
    };
    let (established, accepted) = (through("established"), through("accepted"));
    assert!(established > 50 && accepted > 50, "{kernel}: {established} established, {accepted} accepted");
    let of = |metric: &str| metric_by(&page, metric, "nothing").values().sum::<i64>();
    assert_eq!(of("netqueue_connections_established_total"), established);
    assert_eq!(of("netqueue_connections_accepted_total"), accepted);

    // The page's chart shows everything since the recording began.
    let reader = Reader::new(File::open(recording(kernel)).expect("a file")).expect("a recording");
    let before: i64 = reader
        .filter_map(|observed| match observed.expect("it is whole").what {
            Observation::Checkpoint(checkpoint) => Some(checkpoint.accounts),
            _ => None,
        })
        .flatten()
        .map(|account| account.counts.drop_total() as i64)
        .sum();
    let series = replay.ask("/api/v1/timeseries?measure=drop&by=all");
    let drawn: i64 =
        list(&series["data"], "series").iter().flat_map(|one| list(one, "values")).map(whole).sum();
    assert_eq!(drawn + before, drops.values().sum::<i64>(), "{kernel}");

    // The command line's JSON equals the API's, in an order of its own.
    let said: Value = serde_json::from_str(&replay.netqueue(&["listeners", "--json"])).expect("JSON");
    assert_eq!(list(&said["data"], "listeners").len(), listeners.len());
    for one in list(&said["data"], "listeners") {
        assert!(listeners.contains(one), "{kernel}: only the command line says {one}");
    }
    let said: Value = serde_json::from_str(&replay.netqueue(&["status", "--json"])).expect("JSON");
    assert_eq!(said["data"], replay.ask("/api/v1/status")["data"], "{kernel}");
}
