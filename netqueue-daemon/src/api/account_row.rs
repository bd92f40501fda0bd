//! Conversion of accounts to their API representation.

use netqueue_api::{
    AccountKind, DropCount, Drops, EventShare, Ghosts, Handshakes, Listener, Queue, ResetCount, Resets,
};
use netqueue_domain::{
    self as domain, AccountKey, AccountView, ConnectionResets, Counts, QueueState, ResetCause, Snapshot,
    Unreported,
};

use super::{owner_state::owner_state_from, socket::socket_from, traffic::traffic_from};

/// Returns the resets of accepted connections by listener.
pub(super) fn connection_resets(snapshot: &Snapshot) -> ConnectionResets {
    ConnectionResets::new(snapshot.accounts.iter().map(|account| &**account))
}

/// Converts an account to its API representation.
pub(super) fn listener_from(
    snapshot: &Snapshot,
    account: &AccountView,
    connections: &ConnectionResets,
) -> Listener {
    let family = |addr: std::net::IpAddr| if addr.is_ipv4() { "ipv4" } else { "ipv6" };
    let netns = account.key.netns();
    let counters = account.counts.kernel().iter();
    let clock = snapshot.wall_clock;
    Listener {
        id: account.id.0.to_string(),
        kind: kind_from(&account.key),
        netns: snapshot.netns_name(netns),
        netns_inode: netns.inode,
        netns_generation: netns.generation,
        addr: account.key.addr(),
        port: account.key.port(),
        family: account.key.addr().map(|addr| family(addr).to_owned()),
        process: account.process.to_string(),
        listener: account.listener.as_deref().map(|listener| socket_from(listener, clock)),
        owner_state: account.owner_state.as_deref().map(|state| owner_state_from(state, clock)),
        accept_queue: account.queues.accept.map(queue_from),
        syn_queue: account.queues.syn.map(queue_from),
        traffic: account
            .key
            .is_listener()
            .then(|| traffic_from(&account.traffic, snapshot.health.features))
            .flatten(),
        drops: drops_from(&account.counts),
        resets: resets_from(account.counts.resets()),
        connection_resets: resets_from(connections.of(&account.key).iter().copied()),
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

const fn kind_from(key: &AccountKey) -> AccountKind {
    match key {
        AccountKey::Listener { .. } => AccountKind::Listener,
        AccountKey::Endpoint(_) => AccountKind::Endpoint,
        AccountKey::Ephemeral { .. } => AccountKind::Ephemeral,
        AccountKey::Other(_) => AccountKind::Other,
        AccountKey::Gone(_) => AccountKind::Gone,
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

fn resets_from(resets: impl Iterator<Item = (ResetCause, u64)>) -> Resets {
    let happened = resets.filter(|(_, count)| *count > 0);
    let by_cause = happened.map(|(cause, count)| ResetCount { cause: cause.as_str().to_owned(), count });
    let by_cause: Vec<_> = by_cause.collect();
    Resets { total: by_cause.iter().map(|part| part.count).sum(), by_cause }
}
