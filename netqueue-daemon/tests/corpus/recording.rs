//! Verdicts on a recording, by the path of `/api/v1/diagnosis`: aggregator, evidence, evaluation.

use std::{fs::File, path::Path, time::Duration};

use netqueue_daemon::recording::Reader;
use netqueue_domain::{
    AccountWindow, Aggregator, AggregatorSettings, Snapshot, Timestamp,
    diagnosis::{self, Impact, Verdict},
};

/// Interval at which the first verdict is noted.
const EVERY: Duration = Duration::from_secs(1);

/// Verdicts on a recording.
pub(crate) struct Replayed {
    /// Verdicts at the end, worst first, without those on netqueue itself.
    pub(crate) verdicts: Vec<Verdict>,
    /// Rules of the first verdict over time, with the time of each change.
    pub(crate) firsts: Vec<(Timestamp, &'static str)>,
}

/// Applies a recording as `netqueue replay` does.
pub(crate) fn replay(file: &Path) -> Replayed {
    let reader = File::open(file).map_err(|error| error.to_string());
    let reader = reader.and_then(|file| Reader::new(file).map_err(|error| error.to_string()));
    let reader = reader.unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    let header = reader.header().clone();
    let settings = AggregatorSettings { sees_host: header.sees_host, ..AggregatorSettings::of(header.host) };
    let mut aggregator = Aggregator::new(settings, header.attached);
    let (mut now, mut noted) = (header.attached, header.attached);
    let mut firsts: Vec<(Timestamp, &'static str)> = Vec::new();
    for observed in reader {
        let observed = observed.unwrap_or_else(|error| panic!("{}: {error}", file.display()));
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

fn evaluate(snapshot: &Snapshot) -> Vec<Verdict> {
    let since = snapshot.taken.before(AccountWindow::HELD).max(snapshot.attached);
    let verdicts = diagnosis::evaluate(&diagnosis::evidence(snapshot, since));
    verdicts.into_iter().filter(|verdict| verdict.rule != "netqueue_blind").collect()
}
