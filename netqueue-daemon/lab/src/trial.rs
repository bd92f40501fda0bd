//! Runs one experiment in a network namespace of its own.
//! The comparison takes place at a moment when the kernel's counters do not change.

use std::collections::BTreeMap;
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context, Result, bail};

use super::check;
use super::client::Server;
use super::counters::{self, Counters};
use super::diagnosis::{self, Expected};
use super::endings::Endings;
use super::expectation::{Expectation, Fixture, LabSettings, Scenario};
use super::netns::Netns;
use super::observation::{self, Observation};

/// Time limit for a moment in which the kernel counts nothing.
const STABLE_WITHIN: Duration = Duration::from_secs(30);
/// Time limit for netqueue to agree: events travel, counters do not.
const AGREE_WITHIN: Duration = Duration::from_secs(20);

/// The kernel's and netqueue's counts of one experiment.
#[derive(Default)]
pub(super) struct Comparison {
    /// The inode number of the namespace, the last one if there were several.
    pub netns: u64,
    pub kernel: Counters,
    /// netqueue's answers; `None` if it was not queried.
    pub netqueue: Option<Observation>,
    /// Measurements for the report.
    pub measured: Vec<String>,
    pub problems: Vec<String>,
    /// netqueue's own status, if there are problems.
    pub status: Option<String>,
}

/// Provokes and compares; the namespaces are gone afterwards.
pub(super) fn run(
    provoke: &Scenario,
    settings: LabSettings,
    server: Option<&Server>,
    expected: Expected,
) -> Result<Comparison> {
    let mut comparison = match *provoke {
        Scenario::Inside(provoke) => {
            let place = Place::create(server, expected)?;
            let expectation = place.netns.run(move || provoke(&settings))?;
            place.compare(&expectation)?
        }
        Scenario::Watching(provoke) => {
            let place = Place::create(server, expected)?;
            let expectation = provoke(&Fixture { server, settings, netns: &place.netns })?;
            place.compare(&expectation)?
        }
        Scenario::InEach(times, provoke) => in_each(times, provoke, settings, server)?,
    };
    if let Some(server) = server
        && !comparison.problems.is_empty()
    {
        comparison.status = Some(observation::losses(server)?);
    }
    Ok(comparison)
}

/// A namespace, and the state of all counters when it was new.
struct Place<'a> {
    netns: Netns,
    baseline: Counters,
    server: Option<&'a Server>,
    known: Observation,
    since: SystemTime,
    expected: Expected,
}

impl<'a> Place<'a> {
    fn create(server: Option<&'a Server>, expected: Expected) -> Result<Self> {
        let since = SystemTime::now();
        let netns = Netns::create()?;
        let baseline = netns.counters()?;
        let known = match server {
            Some(server) => Observation::of(server, netns.inode())?,
            None => Observation::default(),
        };
        Ok(Self { netns, baseline, server, known, since, expected })
    }

    fn kernel(&self) -> Result<Counters> {
        Ok(counters::since(&self.netns.counters()?, &self.baseline))
    }

    /// Polls the kernel and netqueue until they agree while the kernel counts nothing, or time is over.
    fn compare(&self, expectation: &Expectation) -> Result<Comparison> {
        let netns = self.netns.inode();
        let mut measured = expectation.measured.clone();
        let Some(server) = self.server else {
            let kernel = self.kernel()?;
            let mut problems = expectation.problems.clone();
            problems.extend(check::incident(expectation, &kernel));
            return Ok(Comparison { netns, kernel, measured, problems, ..Comparison::default() });
        };
        let start = Instant::now();
        let mut disagree_since = None;
        let (mut last, mut first_verdict) = (None, None);
        while start.elapsed() < STABLE_WITHIN {
            let kernel = self.kernel()?;
            let seen = Observation::of(server, netns).context("the daemon stopped answering")?;
            if self.kernel()? != kernel {
                thread::sleep(Duration::from_millis(20));
                continue;
            }
            let seen = seen.since(&self.known);
            let mut problems = expectation.problems.clone();
            problems.extend(check::incident(expectation, &kernel));
            problems.extend(check::netqueue(expectation, &kernel, &seen));
            let verdicts = diagnosis::verdicts(server, netns, self.since)?;
            problems.extend(diagnosis::wrong(self.expected, &verdicts));
            first_verdict = verdicts.first().map(|first| format!("diagnosis: {}", diagnosis::words(first)));
            let agree = problems.is_empty();
            last = Some((kernel, seen, problems));
            if agree || disagree_since.get_or_insert_with(Instant::now).elapsed() > AGREE_WITHIN {
                break;
            }
            thread::sleep(Duration::from_millis(100));
        }
        let Some((kernel, seen, problems)) = last else {
            bail!(
                "the kernel's counters never stood still for {} s, so nothing could be compared",
                STABLE_WITHIN.as_secs()
            )
        };
        measured.extend(first_verdict);
        Ok(Comparison { netns, kernel, netqueue: Some(seen), measured, problems, status: None })
    }
}

/// The counts of namespaces by inode number, which several of them may have had in turn.
type Lives = BTreeMap<u64, (Observation, Counters)>;

/// Provokes an incident in several namespaces, each created after the previous one was left.
/// Each is compared while its sockets are open and after they are closed, and all of them once more when they
/// are gone.
fn in_each(
    times: u32,
    provoke: fn(&LabSettings) -> Result<Expectation>,
    settings: LabSettings,
    server: Option<&Server>,
) -> Result<Comparison> {
    let mut whole = Comparison::default();
    let mut lives = Lives::new();
    let endings = Endings::begin(server)?;
    for n in 1..=times {
        let place = Place::create(server, Expected::Any("one of many"))?;
        let earlier = match server {
            Some(server) => Observation::of_all(server, place.netns.inode())?,
            None => Observation::default(),
        };
        let expectation = place.netns.run(move || provoke(&settings))?;
        let open = place.compare(&expectation)?;
        drop(expectation);
        let closed = place.compare(&Expectation::default())?;
        let problems = open.problems.iter().chain(&closed.problems);
        whole.problems.extend(problems.map(|problem| format!("namespace {n} of {times}: {problem}")));
        let (_, counted) = lives.entry(closed.netns).or_insert_with(|| (earlier, Counters::default()));
        *counted = counters::sum(counted, &closed.kernel);
        endings.add(closed.netns, closed.kernel);
        whole.add(closed);
    }
    if let Some(server) = server {
        for (netns, (known, counted)) in &lives {
            let kept = Observation::of_all(server, *netns)?.since(known);
            let lost = check::residuals(counted, &kept.sum());
            whole.problems.extend(lost.into_iter().map(|lost| format!("namespace {netns} is gone: {lost}")));
        }
        whole.problems.extend(endings.check(server)?);
    }
    whole.measured.push(format!("{times} namespaces had {} inodes", lives.len()));
    Ok(whole)
}

impl Comparison {
    /// Adds the counts of another namespace.
    fn add(&mut self, other: Self) {
        self.netns = other.netns;
        self.kernel = counters::sum(&self.kernel, &other.kernel);
        if let Some(more) = other.netqueue {
            let all = self.netqueue.get_or_insert_default();
            all.rows.extend(more.rows);
            all.events.extend(more.events);
        }
    }
}
