//! `/api/v1/peers`: the clients that met most drops or resets, counted from events.

use std::{cmp::Reverse, collections::HashMap, net::IpAddr};

use axum::extract::State;
use netqueue_api::{Envelope, PeerCount, Peers, Problem as Refused};
use netqueue_domain::{Snapshot, Timestamp, What};

use super::{
    Api,
    answer::Answer,
    event_filter::{EventFilter, charged},
    events::truncated,
    params::Params,
    problem::Problem,
    query::{EventQuery, TopQuery},
    response_cache::CacheKey,
};

/// Largest number of addresses in one response.
pub(super) const MOST: usize = 1000;

/// Clients that met most drops or resets
///
/// Counted from events: lost or evicted ones are missing here, and `coverage` and `truncated_before` report
/// them.
#[utoipa::path(get, path = "/api/v1/peers", tag = "query", params(EventQuery, TopQuery), responses(
    (status = 200, description = "Addresses, most events first", content(
        (Envelope<Peers> = "application/json"), (String = "application/x-ndjson"))),
    (status = 400, description = "A parameter is not what it should be", body = Refused, content_type = "application/problem+json"),
    (status = 406, description = "Neither JSON nor NDJSON is accepted", body = Refused, content_type = "application/problem+json"),
    (status = 503, description = "Too many requests are being answered", body = Refused, content_type = "application/problem+json"),
))]
pub(super) async fn get(
    State(api): State<Api>,
    inquiry: CacheKey,
    params: Params,
) -> Result<Answer, Problem> {
    let params = params.only(&[&EventFilter::PARAMS[..], &["limit", "by"]].concat())?;
    let filter = EventFilter::from_params(&params)?;
    let limit = params.get("limit", &format!("a number, 1 to {MOST}"), |limit| {
        limit.parse().ok().filter(|limit| (1..=MOST).contains(limit))
    })?;
    let by = params.one_of("by", &["events", "drops", "resets"])?.unwrap_or("events");
    let snapshot = api.snapshots.fresh().await;
    Ok(api.answers.once(&snapshot, inquiry, |form| {
        let warnings = filter.remarks(&snapshot);
        form.list(&snapshot, top(&snapshot, &filter, by, limit.unwrap_or(20)), warnings)
    }))
}

#[derive(Default)]
struct Met {
    drops: u64,
    resets: u64,
    causes: HashMap<&'static str, u64>,
    last: Timestamp,
}

fn top(snapshot: &Snapshot, filter: &EventFilter, by: &str, limit: usize) -> Peers {
    let charged = charged(snapshot);
    let mut met: HashMap<IpAddr, Met> = HashMap::new();
    let mut events = 0;
    for (number, event) in snapshot.events.before(u64::MAX, filter.earliest(snapshot)) {
        let Some(peer) = event.peer.filter(|_| filter.admits(&charged, number, &event)) else { continue };
        let peer = met.entry(peer.addr).or_default();
        match event.what {
            What::Drop(_) => peer.drops += 1,
            What::Reset(_) => peer.resets += 1,
        }
        *peer.causes.entry(event.what.cause()).or_default() += 1;
        peer.last = peer.last.max(event.time);
        events += 1;
    }
    let addresses = met.len() as u64;
    let weight = |met: &Met| match by {
        "drops" => met.drops,
        "resets" => met.resets,
        _ => met.drops + met.resets,
    };
    let mut met: Vec<_> = met.into_iter().filter(|(_, met)| weight(met) > 0).collect();
    met.sort_unstable_by_key(|(addr, met)| (Reverse(weight(met)), *addr));
    let peers = met.into_iter().take(limit).map(|(addr, met)| PeerCount {
        addr,
        drops: met.drops,
        resets: met.resets,
        cause: met
            .causes
            .iter()
            .max_by_key(|(cause, count)| (**count, Reverse(**cause)))
            .map_or("", |(cause, _)| cause)
            .to_owned(),
        last: snapshot.wall_clock.rfc3339(met.last),
    });
    Peers { peers: peers.collect(), addresses, events, truncated_before: truncated(snapshot, filter, None) }
}
