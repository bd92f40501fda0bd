//! `/api/v1/listeners`: every account, what it was charged, and its queues.

use axum::extract::State;
use serde::Serialize;

use super::{
    envelope::{ByName, Envelope, Queue},
    listener::ListenerView,
    params::Params,
    place::{Place, PlaceFilter},
    problem::Problem,
    traffic::TrafficView,
};
use crate::{
    domain::{AccountView, Counts, Handshakes, Snapshot, Untold},
    snapshots::Snapshots,
};

#[derive(Serialize)]
pub(super) struct Listeners {
    listeners: Vec<Listener>,
}

#[derive(Serialize)]
struct Listener {
    id: String,
    kind: &'static str,
    #[serde(flatten)]
    place: Place,
    family: Option<&'static str>,
    process: String,
    /// What the inventory knows of the socket; null for what is no listener, or has not been found.
    listener: Option<ListenerView>,
    accept_queue: Option<Queue>,
    syn_queue: Option<Queue>,
    /// `null` for what is no listener.
    traffic: Option<TrafficView>,
    drops: Drops,
    resets: Resets,
    handshakes: HandshakesView,
    ghosts: Ghosts,
    events: Events,
    counters: ByName<u64>,
    first_seen: String,
    last_seen: String,
}

/// How many of the drops and resets have an event of their own.
#[derive(Serialize)]
struct Events {
    /// That happened: drops and resets together.
    total: u64,
    /// That were sent, whether or not they are still held.
    shown: u64,
    /// That were not, because the listener had used up its allowance.
    suppressed: u64,
    /// That were not, because the ring buffer was full.
    lost: u64,
}

#[derive(Serialize)]
struct Drops {
    total: u64,
    by_cause: Vec<DropCount>,
}

#[derive(Serialize)]
struct DropCount {
    cause: &'static str,
    stage: &'static str,
    count: u64,
}

#[derive(Serialize)]
struct Resets {
    total: u64,
    by_cause: Vec<ResetCount>,
}

#[derive(Serialize)]
struct ResetCount {
    cause: &'static str,
    count: u64,
}

/// Handshakes whose final ACK was dropped while the listener kept the request.
#[derive(Serialize)]
struct HandshakesView {
    suspended: u64,
    recovered: u64,
    ended: u64,
    expired: u64,
    unresolved: u64,
}

/// Clients that believe they are connected and of which the listener knows nothing.
#[derive(Serialize)]
struct Ghosts {
    live: u64,
    total: u64,
    recovered: u64,
    ended: u64,
}

/// Answers the request.
pub(super) async fn get(
    State(snapshots): State<Snapshots>,
    params: Params,
) -> Result<Envelope<Listeners>, Problem> {
    let filter = Filter::from_params(params)?;
    let snapshot = snapshots.fresh().await;
    Ok(Envelope::of(&snapshot, select(&snapshot, &filter), []))
}

struct Filter {
    place: PlaceFilter,
    kind: Option<&'static str>,
}

impl Filter {
    fn from_params(params: Params) -> Result<Self, Problem> {
        let [netns, addr, port] = PlaceFilter::PARAMS;
        let params = params.only(&[netns, addr, port, "kind"])?;
        Ok(Self {
            place: PlaceFilter::from_params(&params)?,
            kind: params.one_of("kind", &["listener", "endpoint", "ephemeral", "other", "gone"])?,
        })
    }
}

fn select(snapshot: &Snapshot, filter: &Filter) -> Listeners {
    let admitted = snapshot.accounts.iter().filter(|account| {
        filter.kind.is_none_or(|kind| account.key.kind() == kind)
            && filter.place.admits(snapshot, &account.key)
    });
    Listeners { listeners: admitted.map(|account| Listener::of(snapshot, account)).collect() }
}

impl Listener {
    fn of(snapshot: &Snapshot, account: &AccountView) -> Self {
        let family = |addr: std::net::IpAddr| if addr.is_ipv4() { "ipv4" } else { "ipv6" };
        let counters = account.counts.kernel().iter();
        Self {
            id: account.id.0.to_string(),
            kind: account.key.kind(),
            place: Place::of(snapshot, &account.key),
            family: account.key.addr().map(family),
            process: account.process.to_string(),
            listener: account.listener.as_deref().map(ListenerView::of),
            accept_queue: account.queues.accept.map(Queue::from),
            syn_queue: account.queues.syn.map(Queue::from),
            traffic: account
                .key
                .is_listener()
                .then(|| TrafficView::of(&account.traffic, snapshot.health.features)),
            drops: Drops::of(&account.counts),
            resets: Resets::of(&account.counts),
            handshakes: HandshakesView::of(account.counts.handshakes()),
            ghosts: Ghosts::of(account.counts.handshakes()),
            events: Events::of(&account.counts),
            counters: ByName(counters.map(|(counter, value)| (counter.as_str(), value)).collect()),
            first_seen: account.first_seen.to_rfc3339(),
            last_seen: account.last_seen.to_rfc3339(),
        }
    }
}

impl HandshakesView {
    const fn of(seen: &Handshakes) -> Self {
        Self {
            suspended: seen.suspended,
            recovered: seen.recovered,
            ended: seen.ended,
            expired: seen.expired,
            unresolved: seen.unresolved(),
        }
    }
}

impl Ghosts {
    const fn of(seen: &Handshakes) -> Self {
        Self {
            live: seen.live_ghosts(),
            total: seen.ghosts,
            recovered: seen.ghosts_recovered,
            ended: seen.ghosts_ended,
        }
    }
}

impl Events {
    fn of(counts: &Counts) -> Self {
        let total = counts.drop_total() + counts.reset_total();
        let Untold { suppressed, lost } = counts.untold();
        Self { total, shown: total.saturating_sub(suppressed).saturating_sub(lost), suppressed, lost }
    }
}

impl Drops {
    fn of(counts: &Counts) -> Self {
        let happened = counts.drops().filter(|(_, count)| *count > 0);
        let by_cause = happened
            .map(|(kind, count)| DropCount {
                cause: kind.cause().as_str(),
                stage: kind.stage().as_str(),
                count,
            })
            .collect();
        Self { total: counts.drop_total(), by_cause }
    }
}

impl Resets {
    fn of(counts: &Counts) -> Self {
        let happened = counts.resets().filter(|(_, count)| *count > 0);
        let by_cause = happened.map(|(cause, count)| ResetCount { cause: cause.as_str(), count }).collect();
        Self { total: counts.reset_total(), by_cause }
    }
}
