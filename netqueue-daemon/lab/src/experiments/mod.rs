//! The table of the experiments in the order they run, and their common helpers.

mod accept_wait;
mod after_close;
mod beside;
mod bounds;
mod burst;
mod churn;
mod clock;
mod closing;
mod concurrency;
mod cookie_helper;
mod deferred;
mod dropped_ack_cache;
pub(super) mod established;
mod expired;
mod fast_open;
mod final_ack;
mod flood;
mod flooded;
mod folded;
mod ghosts;
pub(crate) mod healthy;
mod incidents;
mod inventory;
mod knobs;
mod load;
mod many_listeners;
mod many_namespaces;
mod memory;
mod migrated;
mod mptcp;
mod namespaces;
mod nginx;
mod other_drops;
mod other_tracers;
mod owner;
mod peer_closing;
mod preempted;
mod queues;
mod real_servers;
mod remedy;
mod reopen;
mod resets;
mod reuseport;
mod scan;
mod silent_peers;
mod somaxconn;
mod starts;
mod stray;
mod switched_off;
mod syn_time;
mod twins;
mod visible;
mod waiting;

use std::thread;
use std::time::{Duration, Instant};

use anyhow::Result;

use super::counters::{self, Counter};
use super::expectation::Experiment;

pub(super) use bounds::PORTS;
pub(super) use flooded::SYNS;

/// Every experiment. To add one, write a line here and a function in the file of its family.
pub(super) const ALL: &[Experiment] = &[
    syn_time::ACCEPT_QUEUE_FULL,
    syn_time::ABORT_ON_OVERFLOW_IS_SILENT,
    final_ack::OVERFLOW,
    final_ack::OVERFLOW_V6,
    final_ack::OVERFLOW_DEFERRED,
    final_ack::ABORT,
    final_ack::ABORT_V6,
    final_ack::ABORT_DEFERRED,
    expired::EXPIRED_HANDSHAKE,
    expired::EXPIRED_HANDSHAKE_V6,
    flood::WITHOUT_COOKIES,
    flood::WITH_COOKIES,
    flood::LAST_QUARTER,
    burst::BURST,
    burst::PACED,
    remedy::REMEDY,
    incidents::CRAWLER,
    incidents::IDLE_CONNECTIONS,
    incidents::MORE_WEIGHT,
    ghosts::GHOSTS,
    ghosts::NO_GHOSTS,
    resets::KEEP_ALIVE_RACE,
    resets::RESETS,
    reuseport::REUSEPORT,
    reuseport::GROUP,
    syn_time::DUAL_STACK,
    final_ack::COOKIE_ACK,
    final_ack::COOKIE_ACK_V6,
    scan::SYN_SCAN,
    somaxconn::SOMAXCONN,
    knobs::KNOBS,
    concurrency::CONCURRENCY,
    visible::VISIBLE,
    reopen::REOPEN,
    closing::CLOSED_UNDER_LOAD,
    namespaces::NAMESPACES,
    inventory::OWNERS,
    inventory::LIMITS,
    churn::CHURN,
    mptcp::MPTCP,
    mptcp::ACCEPTED,
    fast_open::FAST_OPEN,
    deferred::DEFERRED,
    other_drops::BROADCAST,
    other_drops::NO_ROUTE_AT_SYN,
    other_drops::NO_ROUTE_AT_ACK,
    other_drops::ICMP,
    silent_peers::HANDSHAKE_ABORTED,
    after_close::DATA_AFTER_CLOSE,
    after_close::FORGOTTEN,
    stray::RESET_AGAIN,
    stray::NO_CONNECTION,
    peer_closing::PEER_CLOSING,
    after_close::NO_FIN,
    silent_peers::KEEPALIVE_TIMEOUT,
    silent_peers::OUT_OF_MEMORY,
    beside::REVERSE_PATH,
    beside::MD5_MISMATCH,
    beside::PEERS_RESET,
    resets::DISSOLVED,
    silent_peers::ORPHANS_DESTROYED,
    migrated::MIGRATED,
    accept_wait::SLOW,
    accept_wait::BLOCKING,
    accept_wait::COOKIES,
    accept_wait::FAST_OPEN,
    accept_wait::CLOSED,
    accept_wait::DEAD,
    waiting::HANG,
    waiting::WORKERS,
    queues::SPIKE,
    queues::CROWD,
    queues::HALF_OPEN,
    flooded::FLOOD,
    flooded::STANDSTILL,
    bounds::FULL_MAPS,
    bounds::COME_AND_GO,
    memory::LITTLE_MEMORY,
    folded::MORE_THAN_SLOTS,
    clock::SET_BACK,
    switched_off::FTRACE,
    dropped_ack_cache::GIVING_UP,
    dropped_ack_cache::TOO_SMALL,
    real_servers::REAL_SERVERS,
    nginx::STOPPED,
    nginx::SHORT_QUEUE,
    nginx::KEEP_ALIVE,
    healthy::HEALTHY,
    cookie_helper::HELPER,
    other_tracers::RESETS_KRETPROBES,
    other_tracers::ABORT_KRETPROBES,
    other_tracers::RESETS_GRAPH,
    other_tracers::ABORT_GRAPH,
    starts::STARTS,
    preempted::PREEMPTED,
    twins::TWINS,
    many_namespaces::MANY,
    owner::STOPPED,
    owner::OUT_OF_FILES,
    owner::THROTTLED,
    owner::FROZEN,
    // Last: for minutes its thousand listeners make each answer of the daemon long.
    many_listeners::MANY_LISTENERS,
];

/// Waits until the calling thread's namespace has counted `least` of `counter`, or `patience` is over.
/// Returns no result, because the comparison afterwards reports which of the two it was.
fn wait_for(counter: Counter, least: u64, patience: Duration) -> Result<()> {
    let deadline = Instant::now() + patience;
    while counters::of_this_thread()?.get(counter) < least && Instant::now() < deadline {
        thread::sleep(Duration::from_millis(10));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn a_name_or_a_number_means_one_experiment() {
        let names: HashSet<_> =
            ALL.iter().flat_map(|experiment| [experiment.name, experiment.number]).collect();
        let expected = ALL
            .iter()
            .map(|experiment| if experiment.name == experiment.number { 1 } else { 2 })
            .sum::<usize>();
        assert_eq!(names.len(), expected);
    }
}
