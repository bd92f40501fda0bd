//! `/api/v1/listeners`: every account with its charges, queues and owner; and a single one with its
//! history.

use axum::extract::{Path, State};
use netqueue_api::{Envelope, ListenerDetail, Listeners, Problem as Refused};
use netqueue_domain::AccountId;

use super::{
    Api,
    account_row::{connection_resets, listener_from},
    answer::Answer,
    listener_filter::ListenerFilter,
    params::Params,
    problem::Problem,
    query::{ListenerQuery, PlaceQuery},
    response_cache::CacheKey,
    timeseries,
};

/// All accounts
///
/// Listeners, local endpoints that sent resets without one, an address's client ports, `other` buckets and
/// `gone` aggregates.
#[utoipa::path(get, path = "/api/v1/listeners", tag = "query", params(PlaceQuery, ListenerQuery), responses(
    (status = 200, description = "The accounts that match", content(
        (Envelope<Listeners> = "application/json"), (String = "application/x-ndjson"))),
    (status = 400, description = "A parameter is not what it should be", body = Refused, content_type = "application/problem+json"),
    (status = 406, description = "Neither JSON nor NDJSON is accepted", body = Refused, content_type = "application/problem+json"),
    (status = 503, description = "Too many requests are being answered", body = Refused, content_type = "application/problem+json"),
))]
pub(super) async fn list(
    State(api): State<Api>,
    inquiry: CacheKey,
    params: Params,
) -> Result<Answer, Problem> {
    let filter = ListenerFilter::from_params(params)?;
    let snapshot = api.snapshots.fresh().await;
    Ok(api.answers.once(&snapshot, inquiry, |form| {
        let (listeners, warnings) = filter.select(&snapshot);
        form.list(&snapshot, listeners, warnings)
    }))
}

/// One account with its history
///
/// Values for each second of the last 15 minutes; `/api/v1/timeseries` has more.
#[utoipa::path(get, path = "/api/v1/listeners/{id}", tag = "query",
    params(("id" = String, Path, description = "As `/api/v1/listeners` says it", pattern = "^[0-9]{1,19}$")), responses(
    (status = 200, description = "The account", content(
        (Envelope<ListenerDetail> = "application/json"), (String = "application/x-ndjson"))),
    (status = 400, description = "There are parameters and none is known", body = Refused, content_type = "application/problem+json"),
    (status = 404, description = "No account has this id", body = Refused, content_type = "application/problem+json"),
    (status = 406, description = "Neither JSON nor NDJSON is accepted", body = Refused, content_type = "application/problem+json"),
    (status = 503, description = "Too many requests are being answered", body = Refused, content_type = "application/problem+json"),
))]
pub(super) async fn one(
    State(api): State<Api>,
    Path(id): Path<String>,
    inquiry: CacheKey,
    params: Params,
) -> Result<Answer, Problem> {
    params.only(&[])?;
    let snapshot = api.snapshots.fresh().await;
    let id = id.parse().ok().map(AccountId);
    let Some(account) = snapshot.accounts.iter().find(|account| Some(account.id) == id) else {
        return Err(Problem::no_such_listener());
    };
    Ok(api.answers.once(&snapshot, inquiry, |form| {
        let (history, since) = timeseries::recent(&snapshot, account);
        let listener = listener_from(&snapshot, account, &connection_resets(&snapshot));
        let detail = ListenerDetail { listener, history, history_since: snapshot.wall_clock.rfc3339(since) };
        form.one(&snapshot, detail, Vec::new())
    }))
}
