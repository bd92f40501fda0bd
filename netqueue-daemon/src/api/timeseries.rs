//! `/api/v1/timeseries`: drops, resets, connections and queue lengths over time.

use axum::extract::State;
use netqueue_api::{Envelope, Problem as Refused, Series, Timeseries};
use netqueue_domain::{AccountId, AccountView, Measure, RESOLUTIONS, Snapshot, Timestamp, WallTime, What};

use super::{
    Api, answer::Answer, choices::MEASURES, event_filter::causes, params::Params, place::PlaceFilter,
    problem::Problem, query::TimeseriesQuery, response_cache::CacheKey, timestamp,
};

/// Largest number of steps in one response.
const MOST_STEPS: u64 = 11_000;
/// Largest number of series in one response.
const MOST_SERIES: usize = 500;
/// Largest number of values, that is steps times series, in one response.
const MOST_VALUES: u64 = 500_000;
/// Length of the default period in seconds.
const RECENT: u64 = 900;

/// Values over time
///
/// By second over the last 15 minutes, by ten seconds over 3 hours, by minute over 48 hours: the finest
/// resolution that reaches back to `start` is taken. Sums of drops and resets are exact.
#[utoipa::path(get, path = "/api/v1/timeseries", tag = "query", params(TimeseriesQuery), responses(
    (status = 200, description = "Series that are not 0 throughout", content(
        (Envelope<Timeseries> = "application/json"), (String = "application/x-ndjson"))),
    (status = 400, description = "A parameter is not what it should be", body = Refused, content_type = "application/problem+json"),
    (status = 406, description = "Neither JSON nor NDJSON is accepted", body = Refused, content_type = "application/problem+json"),
    (status = 503, description = "Too many requests are being answered", body = Refused, content_type = "application/problem+json"),
))]
pub(super) async fn get(
    State(api): State<Api>,
    inquiry: CacheKey,
    params: Params,
) -> Result<Answer, Problem> {
    let query = Question::from_params(params)?;
    let snapshot = api.snapshots.fresh().await;
    Ok(api.answers.once(&snapshot, inquiry, |form| {
        let (timeseries, warnings) = query.answer(&snapshot);
        form.list(&snapshot, timeseries, warnings)
    }))
}

/// Returns the last 15 minutes of one account by second, and the start of what is recorded of them.
pub(super) fn recent(snapshot: &Snapshot, account: &AccountView) -> (Vec<Series>, Timestamp) {
    let end = seconds(snapshot.taken);
    let grid = Grid::new(snapshot, 0, end.saturating_sub(RECENT - 1), 1, RECENT);
    (grid.series(account), grid.known_since(snapshot).max(account.history.forgotten_before()))
}

struct Question {
    listener: Option<AccountId>,
    place: PlaceFilter,
    process: Option<String>,
    measure: Option<&'static str>,
    cause: Option<&'static str>,
    start: Option<WallTime>,
    end: Option<WallTime>,
    step: Option<u32>,
    summed: bool,
}

/// Query parameters from which a query is parsed.
pub(super) const PARAMS: [&str; 11] =
    ["listener", "netns", "addr", "port", "process", "measure", "cause", "start", "end", "step", "by"];

impl Question {
    fn from_params(params: Params) -> Result<Self, Problem> {
        let params = params.only(&PARAMS)?;
        let id = |id: &str| id.parse().ok().map(AccountId);
        let moment = |name| params.get(name, timestamp::EXPECTED, timestamp::parse);
        Ok(Self {
            listener: params.get("listener", "the id of a listener, see /api/v1/listeners", id)?,
            place: PlaceFilter::from_params(&params)?,
            process: params.get("process", "the name of a process", |name| Some(name.to_owned()))?,
            measure: params.one_of("measure", &MEASURES)?,
            cause: params.one_of("cause", &causes())?,
            start: moment("start")?,
            end: moment("end")?,
            step: params.get("step", "seconds, 1 to 86400", |step| {
                step.parse().ok().filter(|step| (1..=86_400).contains(step))
            })?,
            summed: params.one_of("by", &["listener", "all"])? == Some("all"),
        })
    }

    fn answer(&self, snapshot: &Snapshot) -> (Timeseries, Vec<String>) {
        let mut warnings = Vec::new();
        let grid = self.grid(snapshot, &mut warnings);
        let mut series: Vec<Series> = Vec::new();
        let mut left_out = 0_u64;
        let most =
            MOST_SERIES.min(usize::try_from(MOST_VALUES / grid.steps.max(1)).unwrap_or(usize::MAX).max(1));
        for account in snapshot.accounts.iter().filter(|account| self.admits(snapshot, account)) {
            for mut one in grid.series(account).into_iter().filter(|one| self.admits_series(one)) {
                if self.summed {
                    one.listener = None;
                    if let Some(sum) = series.iter_mut().find(|sum| same_measure(sum, &one)) {
                        add(sum, &one);
                        continue;
                    }
                }
                if series.len() < most { series.push(one) } else { left_out += 1 }
            }
        }
        if left_out > 0 {
            warnings.push(format!(
                "{left_out} series are left out: ask for fewer listeners, a cause, or a larger step"
            ));
        }
        if let Some(id) =
            self.listener.filter(|id| !snapshot.accounts.iter().any(|account| account.id == *id))
        {
            warnings.push(format!("no listener has the id {}: see /api/v1/listeners", id.0));
        }
        let known_since = grid.known_since(snapshot);
        let forgotten =
            snapshot.accounts.iter().filter(|account| account.history.forgotten_before() > known_since);
        let forgotten = forgotten.filter(|account| self.admits(snapshot, account)).count();
        if forgotten > 0 {
            warnings.push(format!(
                "the earlier history of {forgotten} listeners had to be forgotten: see --history-memory"
            ));
        }
        let Grid { shown: start, step, steps, .. } = grid;
        (
            Timeseries { start, step, steps, known_since: snapshot.wall_clock.rfc3339(known_since), series },
            warnings,
        )
    }

    /// Clamps period and step to what is recorded and to the largest response.
    fn grid(&self, snapshot: &Snapshot, warnings: &mut Vec<String>) -> Grid {
        let now = seconds(snapshot.taken);
        let asked = |time| seconds(snapshot.wall_clock.find(time));
        let end = self.end.map_or(now + 1, |end| asked(end).min(now + 1));
        let reach = |tier: &netqueue_domain::Resolution| tier.reach.as_secs();
        let furthest = now.saturating_sub(RESOLUTIONS.last().map_or(0, reach));
        let start = self.start.map_or(end.saturating_sub(RECENT), asked).max(furthest);
        if start >= end {
            warnings
                .push("nothing lies between `start` and `end`, or it is older than what is kept".to_owned());
        }
        let fine_enough = |step: u32| self.step.is_none_or(|wanted| step <= wanted.max(1));
        let reaching = |tier: &netqueue_domain::Resolution| now.saturating_sub(start) <= reach(tier);
        let tier = RESOLUTIONS.iter().position(reaching).unwrap_or(RESOLUTIONS.len() - 1);
        let least = RESOLUTIONS.get(tier).map_or(1, |tier| tier.step);
        if !fine_enough(least) {
            warnings.push(format!("so far back only steps of {least} s are kept"));
        }
        let window = end.saturating_sub(start);
        // Without a step about 450 of them; in any case no more than the largest number.
        let wanted = self.step.map_or(window / 450, u64::from).max(window.div_ceil(MOST_STEPS)).max(1);
        let step = u32::try_from(wanted.div_ceil(u64::from(least)) * u64::from(least)).unwrap_or(u32::MAX);
        if self.step.is_some_and(|asked| asked != step) {
            warnings.push(format!(
                "the step is {step} s: it has to be a multiple of {least} s, and large enough for the range"
            ));
        }
        let start = start - start % u64::from(step);
        Grid::new(snapshot, tier, start, step, end.saturating_sub(start).div_ceil(u64::from(step)))
    }

    fn admits(&self, snapshot: &Snapshot, account: &AccountView) -> bool {
        self.listener.is_none_or(|wanted| account.id == wanted)
            && self.process.as_deref().is_none_or(|process| *account.process == *process)
            && self.place.admits(snapshot, &account.key)
    }

    fn admits_series(&self, series: &Series) -> bool {
        self.measure.is_none_or(|measure| series.measure == measure)
            && self.cause.is_none_or(|cause| series.cause.as_deref() == Some(cause))
    }
}

/// Steps of time at one resolution.
#[derive(Clone, Copy)]
struct Grid {
    tier: usize,
    /// Start in seconds, as histories count them.
    start: u64,
    /// Start in seconds, as the wall clock shows it.
    shown: u64,
    step: u32,
    steps: u64,
}

impl Grid {
    fn new(snapshot: &Snapshot, tier: usize, start: u64, step: u32, steps: u64) -> Self {
        let begin = Timestamp::from_nanos(start.saturating_mul(1_000_000_000));
        // Histories are kept by whole seconds: after a clock step by a fraction of one, the nearest is shown.
        let shown = (snapshot.wall_clock.show(begin).as_nanos() + 500_000_000) / 1_000_000_000;
        Self { tier, start, shown, step, steps }
    }

    /// Returns the time since when everything is recorded at this resolution.
    fn known_since(&self, snapshot: &Snapshot) -> Timestamp {
        let reach = RESOLUTIONS.get(self.tier).map_or(0, |tier| tier.reach.as_secs());
        let kept = Timestamp::from_nanos(seconds(snapshot.taken).saturating_sub(reach) * 1_000_000_000);
        kept.max(snapshot.attached)
    }

    /// Returns each measure of an account that is not 0 throughout.
    fn series(&self, account: &AccountView) -> Vec<Series> {
        let start = u32::try_from(self.start).unwrap_or(u32::MAX);
        let steps = usize::try_from(self.steps).unwrap_or(usize::MAX);
        let series = account.history.measures(self.tier, start).map(|measure| {
            let values = account.history.values(measure, self.tier, start, self.step, steps);
            let (name, what) = match measure {
                Measure::Charged(what) => (what.kind(), Some(what)),
                Measure::Established => ("established", None),
                Measure::Accepted => ("accepted", None),
                Measure::AcceptQueue => ("accept_queue", None),
                Measure::SynQueue => ("syn_queue", None),
            };
            Series {
                listener: Some(account.id.0.to_string()),
                measure: name.to_owned(),
                cause: what.map(What::cause).map(str::to_owned),
                stage: what.and_then(What::stage).map(str::to_owned),
                start: self.shown,
                step: self.step,
                values,
            }
        });
        series.filter(|series| series.values.iter().any(|value| *value > 0)).collect()
    }
}

fn same_measure(one: &Series, other: &Series) -> bool {
    (&one.measure, &one.cause, &one.stage) == (&other.measure, &other.cause, &other.stage)
}

/// Adds counts; of queue lengths keeps the larger, as a sum of lengths would be no queue's length.
fn add(sum: &mut Series, other: &Series) {
    let longest = matches!(sum.measure.as_str(), "accept_queue" | "syn_queue");
    for (sum, other) in sum.values.iter_mut().zip(&other.values) {
        *sum = if longest { (*sum).max(*other) } else { *sum + other };
    }
}

const fn seconds(at: Timestamp) -> u64 {
    at.as_nanos() / 1_000_000_000
}
