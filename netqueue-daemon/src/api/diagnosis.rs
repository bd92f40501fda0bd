//! `/api/v1/diagnosis`: verdicts, the worst for clients first, each with advice.

use std::{collections::HashSet, time::Duration};

use axum::extract::State;
use netqueue_api::{
    Cause, Counterfactual, Diagnosis, Envelope, Fact, Impact, Knob, ListeningProcess, Problem as Refused,
    Scope, Subject, Verdict, Window,
};
use netqueue_domain::{
    AccountId, AccountWindow, Netns, Snapshot, SpikeScope, WallTime,
    diagnosis::{self, Remedy},
};

use super::spikes::spike_from;
use super::{
    Api,
    answer::Answer,
    beside,
    params::Params,
    place::{Place, PlaceFilter},
    problem::Problem,
    query::{DiagnosisQuery, PlaceQuery},
    response_cache::CacheKey,
    timestamp,
};

/// Query parameters, as listed in the OpenAPI document.
pub(super) const PARAMS: [&str; 6] = ["netns", "addr", "port", "listener", "since", "limit"];

/// Parsed query parameters.
struct Asked {
    place: PlaceFilter,
    listener: Option<AccountId>,
    since: Option<WallTime>,
    limit: usize,
}

impl Asked {
    fn from_params(params: Params) -> Result<Self, Problem> {
        const MOST: usize = 1000;
        let params = params.only(&PARAMS)?;
        let place = PlaceFilter::from_params(&params)?;
        let listener =
            params.get("listener", "the id of a listener, as /api/v1/listeners shows it", |text| {
                text.parse().ok().map(AccountId)
            })?;
        let limit = params.get("limit", "a number from 1 to 1000", |text| {
            text.parse().ok().filter(|limit| (1..=MOST).contains(limit))
        })?;
        let since = params.get("since", timestamp::EXPECTED, timestamp::parse)?;
        Ok(Self { place, listener, since, limit: limit.unwrap_or(100) })
    }

    fn admits(&self, snapshot: &Snapshot, subject: &diagnosis::Subject) -> bool {
        match subject {
            diagnosis::Subject::Account(id, key) => {
                self.place.admits(snapshot, key) && self.listener.is_none_or(|asked| asked == *id)
            }
            diagnosis::Subject::Namespace(netns) => {
                self.listener.is_none() && self.place.admits_all_of(snapshot, *netns)
            }
            diagnosis::Subject::Netqueue => true,
        }
    }

    /// Returns the inode numbers of the namespaces that are asked for, as a whole or by an account in them.
    fn namespaces(&self, snapshot: &Snapshot) -> HashSet<u32> {
        let whole = |netns: &Netns| self.listener.is_none() && self.place.admits_all_of(snapshot, *netns);
        let accounts = snapshot.accounts.iter().filter(|account| {
            self.listener.is_none_or(|asked| asked == account.id) && self.place.admits(snapshot, &account.key)
        });
        let by_account = accounts.map(|account| account.key.netns().inode);
        by_account.chain(snapshot.beside.namespaces().filter(whole).map(|netns| netns.inode)).collect()
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

/// Verdicts
///
/// What is wrong, the worst for clients first, each with its evidence and what to do about it.
#[utoipa::path(get, path = "/api/v1/diagnosis", tag = "query", params(PlaceQuery, DiagnosisQuery), responses(
    (status = 200, description = "The verdicts", content(
        (Envelope<Diagnosis> = "application/json"), (String = "application/x-ndjson"))),
    (status = 400, description = "A parameter is not what it should be", body = Refused, content_type = "application/problem+json"),
    (status = 406, description = "Neither JSON nor NDJSON is accepted", body = Refused, content_type = "application/problem+json"),
    (status = 503, description = "Too many requests are being answered", body = Refused, content_type = "application/problem+json"),
))]
pub(super) async fn get(
    State(api): State<Api>,
    inquiry: CacheKey,
    params: Params,
) -> Result<Answer, Problem> {
    let asked = Asked::from_params(params)?;
    let snapshot = api.snapshots.fresh().await;
    Ok(api.answers.once(&snapshot, inquiry, |form| {
        let (diagnosis, warnings) = diagnose(&snapshot, &asked);
        form.one(&snapshot, diagnosis, warnings)
    }))
}

fn diagnose(snapshot: &Snapshot, asked: &Asked) -> (Diagnosis, Vec<String>) {
    let oldest = snapshot.taken.before(AccountWindow::HELD).max(snapshot.attached);
    let clock = snapshot.wall_clock;
    let asked_since = asked.since.map(|since| clock.find(since));
    let since = asked_since.unwrap_or(oldest).max(oldest).min(snapshot.taken);
    let mut warnings = Vec::new();
    if asked_since.is_some_and(|asked| asked < oldest) {
        warnings.push(format!("what happened before {} is not remembered", clock.rfc3339(oldest)));
    }
    let evidence = diagnosis::evidence(snapshot, since);
    let meant = evidence.iter().filter(|evidence| asked.admits(snapshot, &evidence.subject));
    let mut verdicts = diagnosis::evaluate(meant);
    if verdicts.len() > asked.limit {
        warnings.push(format!(
            "{} verdicts, the first {} are shown: see `limit`",
            verdicts.len(),
            asked.limit
        ));
        verdicts = diagnosis::first(verdicts, asked.limit);
    }
    let spikes = snapshot.spikes.iter().filter(|spike| {
        (spike.is_active() || spike.last_drop >= since) && asked.admits_spike(snapshot, &spike.scope)
    });
    let diagnosis = Diagnosis {
        window: Window {
            start: clock.rfc3339(since),
            end: clock.rfc3339(snapshot.taken),
            seconds: snapshot.taken.since(since).as_secs_f64(),
        },
        verdicts: verdicts.into_iter().map(|verdict| verdict_from(snapshot, verdict)).collect(),
        spikes: spikes.map(|spike| spike_from(snapshot, spike)).collect(),
        scope: Some(scope_from(diagnosis::Scope::of(snapshot))),
        beside: beside::moved(snapshot, since, &asked.namespaces(snapshot)),
    };
    (diagnosis, warnings)
}

fn scope_from(scope: diagnosis::Scope) -> Scope {
    let diagnosis::Scope { namespaces, compared, listeners, waiting, waits_observed, blind } = scope;
    let blind = blind.into_iter().map(str::to_owned).collect();
    Scope { namespaces, compared, listeners, waiting, waits_observed, blind }
}

fn verdict_from(snapshot: &Snapshot, verdict: diagnosis::Verdict) -> Verdict {
    let events = events(snapshot, &verdict);
    Verdict {
        runbook: format!("/runbooks/{}", verdict.runbook()),
        rule: verdict.rule.to_owned(),
        title: verdict.title.to_owned(),
        impact: match verdict.impact {
            diagnosis::Impact::NeverServed => Impact::NeverServed,
            diagnosis::Impact::Reset => Impact::Reset,
            diagnosis::Impact::Delayed => Impact::Delayed,
            diagnosis::Impact::Unseen => Impact::Unseen,
            diagnosis::Impact::Absorbed => Impact::Absorbed,
        },
        ongoing: verdict.ongoing,
        affected: verdict.affected,
        confidence: verdict.confidence.as_str().to_owned(),
        summary: verdict.summary,
        clients_see: verdict.clients_see,
        because: verdict.because.map(because_from),
        consequences: verdict.consequences.into_iter().map(str::to_owned).collect(),
        subject: subject_from(snapshot, &verdict.subject, verdict.owner),
        evidence: verdict
            .evidence
            .into_iter()
            .map(|fact| Fact { name: fact.name.to_owned(), value: fact.value, unit: fact.unit.to_owned() })
            .collect(),
        counterfactual: verdict.counterfactual.map(counterfactual_from),
        advice: verdict.advice,
        knobs: verdict.knobs.into_iter().map(knob_from).collect(),
        check_next: verdict.check_next.iter().map(|check| (*check).to_owned()).collect(),
        missing: verdict.missing.into_iter().map(str::to_owned).collect(),
        events,
    }
}

/// Builds the path and query of this API that returns the events a verdict rests on.
fn events(snapshot: &Snapshot, verdict: &diagnosis::Verdict) -> Option<String> {
    let since = snapshot.wall_clock.rfc3339(verdict.window.0);
    match verdict.subject {
        diagnosis::Subject::Account(id, _) => Some(format!("/api/v1/events?listener={}&since={since}", id.0)),
        diagnosis::Subject::Namespace(netns) => {
            let netns = snapshot.netns_name(netns);
            Some(format!("/api/v1/events?netns={netns}&since={since}"))
        }
        diagnosis::Subject::Netqueue => None,
    }
}

fn subject_from(
    snapshot: &Snapshot,
    subject: &diagnosis::Subject,
    owner: Option<diagnosis::ListeningProcess>,
) -> Subject {
    use diagnosis::Subject as Of;
    let (kind, listener, place) = match subject {
        Of::Account(id, key) => (key.kind(), Some(id.0.to_string()), Some(Place::of(snapshot, key))),
        Of::Namespace(netns) => ("namespace", None, Some(Place::of_namespace(snapshot, *netns))),
        Of::Netqueue => ("netqueue", None, None),
    };
    let nowhere =
        Subject { kind: kind.to_owned(), listener, process: owner.map(process_from), ..Subject::default() };
    match place {
        None => nowhere,
        Some(Place { netns, netns_inode, netns_generation, addr, port }) => Subject {
            netns: Some(netns),
            netns_inode: Some(netns_inode),
            netns_generation: Some(netns_generation),
            addr,
            port,
            ..nowhere
        },
    }
}

fn because_from(diagnosis::Cause { rule, summary, .. }: diagnosis::Cause) -> Cause {
    Cause { rule: rule.to_owned(), summary }
}

fn process_from(
    diagnosis::ListeningProcess { name, pid, unit }: diagnosis::ListeningProcess,
) -> ListeningProcess {
    ListeningProcess { name: name.as_ref().to_owned(), pid, unit: unit.map(|unit| unit.as_ref().to_owned()) }
}

fn counterfactual_from(answer: diagnosis::Counterfactual) -> Counterfactual {
    let base = Counterfactual {
        remedy: "faster".to_owned(),
        smallest_backlog: None,
        proposed_backlog: None,
        longest_wait_seconds: None,
        arrivals_per_second: None,
        accepts_per_second: None,
        clients_refused: answer.refused,
        confidence: answer.confidence.as_str().to_owned(),
        assumptions: answer.assumptions,
    };
    match answer.remedy {
        Remedy::Backlog { smallest, proposed, longest_wait } => Counterfactual {
            remedy: "backlog".to_owned(),
            smallest_backlog: Some(smallest),
            proposed_backlog: Some(proposed),
            longest_wait_seconds: longest_wait.as_ref().map(Duration::as_secs_f64),
            ..base
        },
        Remedy::Faster { arrivals, accepts } => {
            Counterfactual { arrivals_per_second: Some(arrivals), accepts_per_second: Some(accepts), ..base }
        }
        Remedy::TooEarly => Counterfactual { remedy: "unknown".to_owned(), ..base },
    }
}

fn knob_from(diagnosis::Knob { name, set_by, current, proposed }: diagnosis::Knob) -> Knob {
    Knob { name, set_by, current, proposed }
}
