//! Words that several rules share: counts and times that agree with their nouns, the process, symptoms.

use std::time::Duration;

use super::super::Evidence;
use crate::{DropKind, Timestamp};

/// Formats a count with its noun: `1 client`, `2 clients`.
pub(super) fn number(of: u64, what: &str) -> String {
    format!("{of} {what}{}", choose(of, "", "s"))
}

/// Returns the word that agrees with a count: `was` or `were`, `it` or `them`.
pub(super) const fn choose<'a>(of: u64, one: &'a str, many: &'a str) -> &'a str {
    if of == 1 { one } else { many }
}

/// Formats accepts and arrivals: `accepts 1.0 connections per second, and 3.0 arrive`.
///
/// Slow rates keep a decimal, and very slow ones are given per minute, because "0 per second" would be wrong.
pub(super) fn rates([accepts, arrive]: [&str; 2], accepted: f64, arrived: f64) -> String {
    let (unit, factor) = if accepted < 0.095 { ("minute", 60.0) } else { ("second", 1.0) };
    let [accepted, arrived] = [accepted, arrived].map(|rate| {
        let rate = rate * factor;
        if rate < 9.95 { format!("{rate:.1}") } else { format!("{rate:.0}") }
    });
    format!("{accepts} {accepted} connections per {unit}, and {arrived} {arrive}")
}

/// Formats a duration in seconds, or, from ten minutes on, in minutes.
pub(super) fn seconds(time: Duration) -> String {
    let seconds = time.as_secs_f64();
    if seconds < 9.95 {
        format!("{seconds:.1} s")
    } else if seconds < 600.0 {
        format!("{seconds:.0} s")
    } else {
        format!("{:.0} min", seconds / 60.0)
    }
}

/// Formats a moment of the window: `14:02:31 UTC`.
pub(super) fn moment(evidence: &Evidence, at: Timestamp) -> String {
    let shown = evidence.clock.show(at).to_rfc3339();
    format!("{} UTC", shown.get(11..19).unwrap_or_default())
}

/// Says when something ended: `until 14:02:31 UTC`, with the close if that ended it.
pub(super) fn until(evidence: &Evidence, at: Timestamp) -> String {
    let closed = evidence.closed_at.is_some_and(|closed| closed <= at);
    let closed = if closed { "until the listener was closed at" } else { "until" };
    format!("{closed} {}", moment(evidence, at))
}

/// Formats two durations as a range in seconds, or as one number if they do not differ.
pub(super) fn range(shortest: Duration, longest: Duration) -> String {
    let [shortest, longest] = [shortest, longest].map(|time| format!("{:.1}", time.as_secs_f64()));
    if shortest == longest { format!("{shortest} s") } else { format!("{shortest} to {longest} s") }
}

/// Names the process within a sentence.
pub(super) fn who(evidence: &Evidence) -> String {
    named(evidence).unwrap_or_else(|| "the process".to_owned())
}

/// Names the process at the beginning of a sentence.
pub(super) fn who_first(evidence: &Evidence) -> String {
    named(evidence).unwrap_or_else(|| "The process".to_owned())
}

fn named(evidence: &Evidence) -> Option<String> {
    evidence.owner.as_ref().map(|owner| format!("{} (pid {})", owner.name, owner.pid))
}

/// Describes the symptoms of a full accept queue, by the stages at which it dropped.
pub(super) fn overflow_symptoms(evidence: &Evidence) -> String {
    let mut seen = Vec::new();
    if evidence.drops(DropKind::AcceptQueueFullSyn) > 0 {
        seen.push(
            "a connect delayed by 1 s, 3 s, 7 s or more, or a time-out (dropped at the SYN, which is never answered with a reset, \
             whatever the value of tcp_abort_on_overflow)",
        );
    }
    if evidence.drops(DropKind::AcceptQueueFullAck) > 0 {
        seen.push(match evidence.settings.abort_on_overflow {
            Some(0) => {
                "a connection that is established but gets no answer until there is room or the listener gives up (dropped at the \
                 final ACK)"
            }
            Some(_) => {
                "a connection that is established and then reset at once (dropped at the final ACK with tcp_abort_on_overflow=1)"
            }
            None => {
                "a connection that is established but gets no answer (dropped at the final ACK), or is reset at once if \
                 tcp_abort_on_overflow is 1"
            }
        });
    }
    if evidence.drops(DropKind::AcceptQueueFullCookieAck) > 0 {
        seen.push(
            "a connection that is established, but of which the listener has no state (dropped at the final ACK of a SYN cookie)",
        );
    }
    seen.join("; ")
}
