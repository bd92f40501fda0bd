//! `/api/v1/listeners`: every account with its charges, queues and owner; and a single one with its
//! history.

use axum::extract::{Path, State};
use netqueue_api::{
    DropCount, Drops, Envelope, EventShare, Ghosts, Handshakes, Listener, ListenerDetail, Listeners,
    Problem as Refused, Queue, ResetCount, Resets,
};
use netqueue_domain::{self as domain, AccountId, AccountView, Counts, QueueState, Snapshot, Unreported};

use super::socket::socket_from;
use super::traffic::traffic_from;
use super::{
    Api,
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
        let listener = listener_from(&snapshot, account);
        let detail = ListenerDetail { listener, history, history_since: snapshot.wall_clock.rfc3339(since) };
        form.one(&snapshot, detail, Vec::new())
    }))
}

/// Converts an account to its API representation.
pub(super) fn listener_from(snapshot: &Snapshot, account: &AccountView) -> Listener {
    let family = |addr: std::net::IpAddr| if addr.is_ipv4() { "ipv4" } else { "ipv6" };
    let netns = account.key.netns();
    let counters = account.counts.kernel().iter();
    let clock = snapshot.wall_clock;
    Listener {
        id: account.id.0.to_string(),
        kind: account.key.kind().to_owned(),
        netns: snapshot.netns_name(netns),
        netns_inode: netns.inode,
        netns_generation: netns.generation,
        addr: account.key.addr(),
        port: account.key.port(),
        family: account.key.addr().map(|addr| family(addr).to_owned()),
        process: account.process.to_string(),
        listener: account.listener.as_deref().map(|listener| socket_from(listener, clock)),
        accept_queue: account.queues.accept.map(queue_from),
        syn_queue: account.queues.syn.map(queue_from),
        traffic: account
            .key
            .is_listener()
            .then(|| traffic_from(&account.traffic, snapshot.health.features))
            .flatten(),
        drops: drops_from(&account.counts),
        resets: resets_from(&account.counts),
        handshakes: handshakes_from(account.counts.handshakes()),
        ghosts: ghosts_from(account.counts.handshakes()),
        syncookie_helper_overflows: account.counts.helper_overflows(),
        events: event_share_from(&account.counts),
        counters: counters.map(|(counter, value)| (counter.as_str().to_owned(), value)).collect(),
        first_seen: Some(clock.rfc3339(account.first_seen)),
        last_seen: Some(clock.rfc3339(account.last_seen)),
        closed: account.closed.map(|closed| clock.rfc3339(closed)),
    }
}

pub(super) fn queue_from(QueueState { length, limit }: QueueState) -> Queue {
    Queue { length, limit }
}

const fn handshakes_from(seen: &domain::Handshakes) -> Handshakes {
    Handshakes {
        suspended: seen.suspended,
        recovered: seen.recovered,
        ended: seen.ended,
        given_up: seen.given_up,
        timed_out: seen.timed_out,
        expired: seen.expired,
        unresolved: seen.unresolved(),
    }
}

const fn ghosts_from(seen: &domain::Handshakes) -> Ghosts {
    Ghosts {
        live: seen.live_ghosts(),
        total: seen.ghosts,
        recovered: seen.ghosts_recovered,
        ended: seen.ghosts_ended,
        given_up: seen.ghosts_given_up,
    }
}

fn event_share_from(counts: &Counts) -> EventShare {
    let total = counts.drop_total() + counts.reset_total();
    let Unreported { suppressed, lost } = counts.unreported();
    EventShare { total, shown: total.saturating_sub(suppressed).saturating_sub(lost), suppressed, lost }
}

fn drops_from(counts: &Counts) -> Drops {
    let happened = counts.drops().filter(|(_, count)| *count > 0);
    let by_cause = happened.map(|(kind, count)| DropCount {
        cause: kind.cause().as_str().to_owned(),
        stage: kind.stage().as_str().to_owned(),
        count,
    });
    Drops { total: counts.drop_total(), by_cause: by_cause.collect() }
}

fn resets_from(counts: &Counts) -> Resets {
    let happened = counts.resets().filter(|(_, count)| *count > 0);
    let by_cause = happened.map(|(cause, count)| ResetCount { cause: cause.as_str().to_owned(), count });
    Resets { total: counts.reset_total(), by_cause: by_cause.collect() }
}
