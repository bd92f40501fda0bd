//! Verdicts on a recording, by the path of `/api/v1/diagnosis`: aggregator, evidence, evaluation.

use std::{
    fs::File,
    io::{BufRead as _, BufReader},
    path::Path,
    time::Duration,
};

use flate2::read::MultiGzDecoder;
use netqueue_domain::{
    AccountWindow, Aggregator, AggregatorSettings, Netns, Observed, Snapshot, Timestamp,
    diagnosis::{self, Impact, Verdict},
};
use serde::{Deserialize, de::DeserializeOwned};

/// Interval at which the first verdict is noted.
const EVERY: Duration = Duration::from_secs(1);

/// Verdicts on a recording.
pub(crate) struct Replayed {
    /// Verdicts at the end, worst first, without those on netqueue itself.
    pub(crate) verdicts: Vec<Verdict>,
    /// Rules of the first verdict over time, with the time of each change.
    pub(crate) firsts: Vec<(Timestamp, &'static str)>,
}

/// First line of a recording, as far as the aggregator needs it.
#[derive(Deserialize)]
struct Header {
    host: Netns,
    #[serde(default = "super::yes")]
    sees_host: bool,
    attached: Timestamp,
}

/// Last line of a recording.
const END: &str = "{\"end\":true}";

/// Applies a recording as `netqueue replay` does.
pub(crate) fn replay(file: &Path) -> Replayed {
    let shown = file.display();
    let recording = File::open(file).unwrap_or_else(|error| panic!("{shown}: {error}"));
    let mut lines = BufReader::new(MultiGzDecoder::new(recording)).lines();
    let mut next = || lines.next().unwrap_or_else(|| panic!("{shown} is cut off")).expect("gzip");
    let header: Header = parse(&next());
    let settings = AggregatorSettings { sees_host: header.sees_host, ..AggregatorSettings::of(header.host) };
    let mut aggregator = Aggregator::new(settings, header.attached);
    let (mut now, mut noted) = (header.attached, header.attached);
    let mut firsts: Vec<(Timestamp, &'static str)> = Vec::new();
    loop {
        let line = next();
        if line == END {
            break;
        }
        let observed: Observed = parse(&line);
        now = now.max(observed.time);
        aggregator.apply(now, observed.what);
        if now.since(noted) < EVERY {
            continue;
        }
        noted = now;
        aggregator.tick(now);
        let first = evaluate(&aggregator.snapshot(now)).into_iter().next();
        let first = first.filter(|first| first.impact != Impact::Absorbed).map_or("", |first| first.rule);
        if firsts.last().is_none_or(|(_, last)| *last != first) {
            firsts.push((now, first));
        }
    }
    aggregator.tick(now);
    Replayed { verdicts: evaluate(&aggregator.snapshot(now)), firsts }
}

fn parse<T: DeserializeOwned>(line: &str) -> T {
    serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"))
}

fn evaluate(snapshot: &Snapshot) -> Vec<Verdict> {
    let since = snapshot.taken.before(AccountWindow::HELD).max(snapshot.attached);
    let verdicts = diagnosis::evaluate(&diagnosis::evidence(snapshot, since));
    verdicts.into_iter().filter(|verdict| verdict.rule != "netqueue_blind").collect()
}
