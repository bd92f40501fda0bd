//! `/api/v1/diagnosis`: what is the matter, the worst for clients first, and what to do about it.

use std::time::Duration;

use axum::{extract::State, response::Response};
use serde::Serialize;

use super::{
    Api,
    answer::Form,
    moment,
    params::Params,
    place::{Place, PlaceFilter},
    problem::Problem,
    spikes::SpikeView,
};
use crate::domain::{
    AccountId, Past, Snapshot, SpikeScope, Timestamp,
    diagnosis::{self, Because, Counterfactual, Knob, Process, Remedy, Subject, Verdict},
};

#[derive(Serialize)]
pub(super) struct Diagnosis {
    /// The time looked at.
    window: Window,
    verdicts: Vec<VerdictView>,
    /// Sudden rises of drops in that time.
    spikes: Vec<SpikeView>,
}

#[derive(Serialize)]
struct Window {
    start: String,
    end: String,
    seconds: f64,
}

#[derive(Serialize)]
struct VerdictView {
    rule: &'static str,
    title: &'static str,
    /// What it does to clients: `never_served`, `reset`, `delayed`, `unseen` or `absorbed`.
    harm: &'static str,
    /// Clients, or packets where clients cannot be told apart.
    affected: u64,
    confidence: &'static str,
    summary: String,
    clients_see: String,
    /// Why it came to that: another verdict on the same subject is its cause.
    because: Option<BecauseView>,
    subject: SubjectView,
    evidence: Vec<FactView>,
    counterfactual: Option<CounterfactualView>,
    advice: Vec<String>,
    knobs: Vec<KnobView>,
    check_next: &'static [&'static str],
    /// What is not known and would have made it surer.
    missing: Vec<&'static str>,
    /// Where the runbook is, on this server.
    runbook: String,
    /// Where the events are, on this server.
    events: Option<String>,
}

#[derive(Serialize)]
struct BecauseView {
    rule: &'static str,
    summary: String,
}

#[derive(Serialize)]
struct SubjectView {
    kind: &'static str,
    listener: Option<String>,
    #[serde(flatten)]
    place: Option<Place>,
    /// The process that listens there, where it is known.
    process: Option<ProcessView>,
}

#[derive(Serialize)]
struct ProcessView {
    name: String,
    pid: u32,
    unit: Option<String>,
}

#[derive(Serialize)]
struct FactView {
    name: &'static str,
    value: f64,
    unit: &'static str,
}

#[derive(Serialize)]
struct CounterfactualView {
    /// `backlog`: one would have been enough; `faster`: none would.
    remedy: &'static str,
    smallest_backlog: Option<u32>,
    proposed_backlog: Option<u32>,
    longest_wait_seconds: Option<f64>,
    arrivals_per_second: Option<f64>,
    accepts_per_second: Option<f64>,
    clients_refused: u64,
    confidence: &'static str,
    assumptions: Vec<String>,
}

#[derive(Serialize)]
struct KnobView {
    name: String,
    set_by: String,
    current: Option<String>,
    proposed: String,
}

/// What is asked for.
struct Asked {
    place: PlaceFilter,
    listener: Option<AccountId>,
    since: Option<Timestamp>,
    limit: usize,
}

impl Asked {
    fn from_params(params: Params) -> Result<Self, Problem> {
        const MOST: usize = 1000;
        let known: Vec<_> =
            ["netns", "addr", "port"].into_iter().chain(["listener", "since", "limit"]).collect();
        let params = params.only(&known)?;
        let place = PlaceFilter::from_params(&params)?;
        let listener =
            params.get("listener", "the id of a listener, as /api/v1/listeners shows it", |text| {
                text.parse().ok().map(AccountId)
            })?;
        let limit = params.get("limit", "a number from 1 to 1000", |text| {
            text.parse().ok().filter(|limit| (1..=MOST).contains(limit))
        })?;
        let since = params.get("since", moment::EXPECTED, moment::parse)?;
        Ok(Self { place, listener, since, limit: limit.unwrap_or(100) })
    }

    fn admits(&self, snapshot: &Snapshot, subject: &Subject) -> bool {
        match subject {
            Subject::Account(id, key) => {
                self.place.admits(snapshot, key) && self.listener.is_none_or(|asked| asked == *id)
            }
            Subject::Namespace(netns) => {
                self.listener.is_none() && self.place.admits_all_of(snapshot, *netns)
            }
            Subject::Netqueue => true,
        }
    }

    fn admits_spike(&self, snapshot: &Snapshot, scope: &SpikeScope) -> bool {
        match scope {
            SpikeScope::Account(key, _) => {
                let id = snapshot.account(key).map(|account| account.id);
                self.place.admits(snapshot, key) && self.listener.is_none_or(|asked| Some(asked) == id)
            }
            SpikeScope::Namespace(netns) => {
                self.listener.is_none() && self.place.admits_all_of(snapshot, *netns)
            }
        }
    }
}

/// Answers the request.
pub(super) async fn get(State(api): State<Api>, form: Form, params: Params) -> Result<Response, Problem> {
    let asked = Asked::from_params(params)?;
    let snapshot = api.snapshots.fresh().await;
    let (diagnosis, warnings) = diagnose(&snapshot, &asked);
    Ok(form.one(&snapshot, diagnosis, warnings))
}

fn diagnose(snapshot: &Snapshot, asked: &Asked) -> (Diagnosis, Vec<String>) {
    let oldest = snapshot.taken.before(Past::HELD).max(snapshot.attached);
    let since = asked.since.unwrap_or(oldest).max(oldest).min(snapshot.taken);
    let mut warnings = Vec::new();
    if asked.since.is_some_and(|asked| asked < oldest) {
        warnings.push(format!("what happened before {} is not remembered", oldest.to_rfc3339()));
    }
    let evidence = diagnosis::evidence(snapshot, since);
    let meant = evidence.iter().filter(|evidence| asked.admits(snapshot, &evidence.subject));
    let mut verdicts = diagnosis::judge(meant);
    if verdicts.len() > asked.limit {
        warnings.push(format!(
            "{} verdicts, the first {} are shown: see `limit`",
            verdicts.len(),
            asked.limit
        ));
        verdicts.truncate(asked.limit);
    }
    let spikes = snapshot.spikes.iter().filter(|spike| {
        (spike.is_active() || spike.last_drop >= since) && asked.admits_spike(snapshot, &spike.scope)
    });
    let diagnosis = Diagnosis {
        window: Window {
            start: since.to_rfc3339(),
            end: snapshot.taken.to_rfc3339(),
            seconds: snapshot.taken.since(since).as_secs_f64(),
        },
        verdicts: verdicts.into_iter().map(|verdict| VerdictView::of(snapshot, verdict)).collect(),
        spikes: spikes.map(|spike| SpikeView::of(snapshot, spike)).collect(),
    };
    (diagnosis, warnings)
}

impl VerdictView {
    fn of(snapshot: &Snapshot, verdict: Verdict) -> Self {
        let events = events(snapshot, &verdict);
        Self {
            runbook: format!("/runbooks/{}", verdict.runbook()),
            rule: verdict.rule,
            title: verdict.title,
            harm: verdict.harm.as_str(),
            affected: verdict.affected,
            confidence: verdict.confidence.as_str(),
            summary: verdict.summary,
            clients_see: verdict.clients_see,
            because: verdict.because.map(|Because { rule, summary }| BecauseView { rule, summary }),
            subject: SubjectView::of(snapshot, &verdict.subject, verdict.owner),
            evidence: verdict
                .evidence
                .into_iter()
                .map(|fact| FactView { name: fact.name, value: fact.value, unit: fact.unit })
                .collect(),
            counterfactual: verdict.counterfactual.map(CounterfactualView::from),
            advice: verdict.advice,
            knobs: verdict.knobs.into_iter().map(KnobView::from).collect(),
            check_next: verdict.check_next,
            missing: verdict.missing,
            events,
        }
    }
}

/// The events a verdict rests on, as a query of this API.
fn events(snapshot: &Snapshot, verdict: &Verdict) -> Option<String> {
    let since = verdict.window.0.to_rfc3339();
    match verdict.subject {
        Subject::Account(id, _) => Some(format!("/api/v1/events?listener={}&since={since}", id.0)),
        Subject::Namespace(netns) => {
            let netns = snapshot.netns_name(netns);
            Some(format!("/api/v1/events?netns={netns}&since={since}"))
        }
        Subject::Netqueue => None,
    }
}

impl SubjectView {
    fn of(snapshot: &Snapshot, subject: &Subject, owner: Option<Process>) -> Self {
        let (kind, listener, place) = match subject {
            Subject::Account(id, key) => (key.kind(), Some(id.0.to_string()), Some(Place::of(snapshot, key))),
            Subject::Namespace(netns) => ("namespace", None, Some(Place::of_namespace(snapshot, *netns))),
            Subject::Netqueue => ("netqueue", None, None),
        };
        Self { kind, listener, place, process: owner.map(ProcessView::from) }
    }
}

impl From<Process> for ProcessView {
    fn from(Process { name, pid, unit }: Process) -> Self {
        Self { name: name.as_ref().to_owned(), pid, unit: unit.map(|unit| unit.as_ref().to_owned()) }
    }
}

impl From<Counterfactual> for CounterfactualView {
    fn from(answer: Counterfactual) -> Self {
        let base = Self {
            remedy: "faster",
            smallest_backlog: None,
            proposed_backlog: None,
            longest_wait_seconds: None,
            arrivals_per_second: None,
            accepts_per_second: None,
            clients_refused: answer.refused,
            confidence: answer.confidence.as_str(),
            assumptions: answer.assumptions,
        };
        match answer.remedy {
            Remedy::Backlog { smallest, proposed, longest_wait } => Self {
                remedy: "backlog",
                smallest_backlog: Some(smallest),
                proposed_backlog: Some(proposed),
                longest_wait_seconds: longest_wait.as_ref().map(Duration::as_secs_f64),
                ..base
            },
            Remedy::Faster { arrivals, accepts } => {
                Self { arrivals_per_second: Some(arrivals), accepts_per_second: Some(accepts), ..base }
            }
        }
    }
}

impl From<Knob> for KnobView {
    fn from(Knob { name, set_by, current, proposed }: Knob) -> Self {
        Self { name, set_by, current, proposed }
    }
}
