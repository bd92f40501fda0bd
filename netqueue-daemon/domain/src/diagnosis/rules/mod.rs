//! Table of rules. Verdicts that rank equally are reported in its order.

mod accept_queue;
mod application;
mod blind;
mod handshake;
mod resets;
mod syn_queue;

use std::time::Duration;

use super::{Fact, Rule};

/// Every rule.
pub const RULES: &[Rule] = &[
    accept_queue::REUSEPORT_MEMBER_STALLED,
    accept_queue::LIMIT_NEEDS_RELISTEN,
    accept_queue::STALLED,
    accept_queue::SLOW,
    accept_queue::BURST,
    handshake::GHOSTS,
    handshake::OVERFLOW_ABORT,
    handshake::EXPIRED,
    syn_queue::FULL,
    syn_queue::LAST_QUARTER,
    syn_queue::ABSORBED,
    resets::LISTENER_CLOSED,
    resets::KEEPALIVE_RACE,
    resets::CLOSED_PORT,
    resets::UNKNOWN_CONNECTION,
    application::UNREAD_DATA,
    application::LINGER_ZERO,
    application::PEER_GONE,
    application::OUT_OF_MEMORY,
    application::OTHER_RESETS,
    syn_queue::OTHER_DROPS,
    handshake::ABORTED,
    handshake::RESET_BY_PEERS,
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

/// Formats a count with its noun: `1 client`, `2 clients`.
fn number(of: u64, what: &str) -> String {
    format!("{of} {what}{}", choose(of, "", "s"))
}

/// Returns the word that agrees with a count: `was` or `were`, `it` or `them`.
const fn choose<'a>(of: u64, one: &'a str, many: &'a str) -> &'a str {
    if of == 1 { one } else { many }
}

/// Formats a rate per second. Slow rates keep a decimal, because "0 per second" would be wrong.
fn rate(per_second: f64) -> String {
    if per_second < 9.95 { format!("{per_second:.1}") } else { format!("{per_second:.0}") }
}

/// Formats two durations as a range in seconds, or as one number if they do not differ.
fn range(shortest: Duration, longest: Duration) -> String {
    let [shortest, longest] = [shortest, longest].map(|time| format!("{:.1}", time.as_secs_f64()));
    if shortest == longest { format!("{shortest} s") } else { format!("{shortest} to {longest} s") }
}
