//! Table of rules. Verdicts that rank equally are reported in its order.

mod accept_queue;
mod after_close;
mod application;
mod backlog;
mod blind;
mod elsewhere;
mod handshake;
mod owner;
mod place;
mod resets;
mod server_stopped;
mod syn_queue;
mod waiting;
mod words;

use super::{Fact, Knob, Rule};

/// Every rule.
pub const RULES: &[Rule] = &[
    accept_queue::REUSEPORT_MEMBER_STALLED,
    accept_queue::LIMIT_NEEDS_RELISTEN,
    accept_queue::STALLED,
    accept_queue::SLOW,
    accept_queue::BURST,
    waiting::WAITING,
    handshake::GHOSTS,
    handshake::OVERFLOW_ABORT,
    handshake::EXPIRED,
    syn_queue::FULL,
    syn_queue::LAST_QUARTER,
    syn_queue::ABSORBED,
    syn_queue::COOKIES_ALWAYS,
    server_stopped::SERVER_STOPPED,
    resets::LISTENER_CLOSED,
    after_close::KEEPALIVE_RACE,
    after_close::AFTER_CLOSE,
    resets::CLOSED_PORT,
    resets::NO_CONNECTION,
    resets::UNKNOWN_CONNECTION,
    application::UNREAD_DATA,
    application::LINGER_ZERO,
    application::PEER_GONE,
    application::OUT_OF_MEMORY,
    application::OTHER_RESETS,
    syn_queue::OTHER_DROPS,
    handshake::ABORTED,
    handshake::RESET_BY_PEERS,
    after_close::PEER_CLOSING,
    after_close::RESET_AGAIN,
    blind::BLIND,
];

/// Builds a fact.
fn fact(name: &'static str, value: impl Into<f64>, unit: &'static str) -> Fact {
    Fact { name, value: value.into(), unit }
}

/// Builds a fact from a count, exact up to 2^53.
fn count(name: &'static str, value: u64, unit: &'static str) -> Fact {
    fact(name, value as f64, unit)
}

/// Proposes a value of a sysctl that counts whenever the kernel reads it.
fn sysctl(name: &str, current: Option<u32>, proposed: String) -> Knob {
    Knob {
        name: name.to_owned(),
        set_by: "sysctl in the network namespace of the listener, in force at once".to_owned(),
        current: current.map(|current| current.to_string()),
        proposed,
    }
}
