//! The expected diagnosis of each experiment: the first verdict of `/api/v1/diagnosis`.

use std::time::SystemTime;

use anyhow::Result;
use netqueue_api::{Diagnosis, Verdict};

use super::client::Server;

/// The expected diagnosis of an experiment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Expected {
    /// This verdict comes first.
    First(&'static str),
    /// The first verdict is of this rule, or names it as its cause.
    Root(&'static str),
    /// The verdict of the first rule comes first, with that of the second as its consequence.
    Led(&'static str, &'static str),
    /// No verdict at all: no client was harmed.
    Nothing,
    /// Any verdict is accepted, for this reason.
    Any(&'static str),
}

use Expected::{Any, First, Led, Nothing, Root};

/// The expected diagnoses, by name of experiment.
const EXPECTED: &[(&str, Expected)] = &[
    ("accept-queue-full", First("accept_queue_stalled")),
    ("abort-on-overflow-at-syn", First("accept_queue_stalled")),
    ("final-ack-overflow", First("accept_queue_stalled")),
    ("final-ack-overflow-deferred", First("accept_queue_stalled")),
    ("abort-on-overflow", Led("accept_queue_stalled", "overflow_abort")),
    ("abort-on-overflow-deferred", Led("accept_queue_stalled", "overflow_abort")),
    ("expired-handshake", Led("accept_queue_stalled", "expired_handshakes")),
    ("syn-flood", First("syn_queue_full")),
    ("syn-flood-cookies", First("syn_flood_absorbed")),
    ("syn-backlog-reserve", First("syn_backlog_reserve")),
    ("burst", First("accept_queue_stalled")),
    ("paced", Nothing),
    ("backlog-that-would-do", Any("bursts that pass and bursts that do not")),
    ("crawler-start", Any("each step is judged by itself")),
    ("idle-connections", First("keepalive_race")),
    ("more-weight", Root("accept_queue_slow")),
    ("ghosts", Led("accept_queue_burst", "ghost_connections")),
    ("ghosts-without-cookies", Any("which of the two queues fills first differs by kernel")),
    ("keep-alive-race", First("after_close")),
    ("resets", First("listener_closed")),
    ("reuseport", First("reuseport_member_stalled")),
    ("dual-stack", First("accept_queue_stalled")),
    ("cookie-ack-overflow", Led("accept_queue_stalled", "ghost_connections")),
    ("syn-scan", First("handshakes_reset_by_peers")),
    ("somaxconn", First("accept_queue_stalled")),
    ("knobs", Any("many incidents of a moment each")),
    ("deferred", Nothing),
    ("concurrency", Any("three listeners of different kinds, and which one is worst is a matter of luck")),
    ("final-ack-overflow-ipv6", First("accept_queue_stalled")),
    ("abort-on-overflow-ipv6", Led("accept_queue_stalled", "overflow_abort")),
    ("expired-handshake-ipv6", Led("accept_queue_stalled", "expired_handshakes")),
    ("cookie-ack-overflow-ipv6", Led("accept_queue_stalled", "ghost_connections")),
    ("owners", Any("no client comes: there is nothing to explain")),
    ("limits", Any("no client comes: there is nothing to explain")),
    ("mptcp", Any("a burst, or a process that accepts nothing: a matter of seconds")),
    ("mptcp-accepted", Nothing),
    ("fast-open", Any("slow accepts, ghosts and resets of abandoned clients at once")),
    ("broadcast-syn", First("other_drops")),
    ("no-route-at-syn", First("other_drops")),
    ("no-route-at-ack", First("other_drops")),
    ("icmp-error", First("other_drops")),
    ("handshake-aborted", First("handshake_aborted")),
    ("data-after-close", First("after_close")),
    ("forgotten-connection", First("server_stopped")),
    ("reset-again", First("unread_data")),
    ("no-connection", First("closed_port")),
    ("peer-closing", First("unread_data")),
    ("fin-never-came", First("after_close")),
    ("keepalive-timeout", First("peer_gone")),
    ("out-of-memory", First("out_of_memory")),
    ("reverse-path-filter", First("closed_port")),
    ("md5-mismatch", First("closed_port")),
    ("peers-reset", Any("clients in the same namespace reset on purpose: linger_zero at their ports")),
    ("dissolved", First("other_resets")),
    ("orphans-destroyed", First("other_resets")),
    ("migrated-queue", Any("a listener is closed and its successor overflows")),
    ("reuseport-group", First("reuseport_member_stalled")),
    ("accept-wait", Nothing),
    ("accept-wait-blocking", Nothing),
    ("accept-wait-fast-open", Nothing),
    ("flood-100k", Any("its daemon is its own")),
    ("reader-stands-still", Any("its daemon is its own, and stopped")),
    ("maps-full", Any("its daemon is its own")),
    ("ports-come-and-go", Any("its daemon is its own")),
    ("little-memory", Any("its daemon is its own")),
    ("more-listeners-than-slots", Any("its daemon is its own")),
    ("closed-under-load", Any("its daemon is its own, and stopped")),
    ("clock-set-back", Any("its daemon is its own")),
    ("ftrace-switched-off", Nothing),
    ("syncookie-helper", Any("one listener is full, the other drops one SYN")),
    ("resets-beside-kretprobes", Any("as the resets without them")),
    ("abort-beside-kretprobes", Any("as abort-on-overflow without them")),
    ("resets-beside-function-graph", Any("as the resets without it")),
    ("abort-beside-function-graph", Any("as abort-on-overflow without it")),
    ("starts-under-load", Any("its daemons are its own")),
    ("resets-preempted", Any("thousands of resets by busy servers")),
    ("full-trampoline", Any("its daemon is its own")),
    ("many-namespaces", Any("many namespaces")),
    ("clients-give-up", Any("two listeners with ghosts and pending handshakes")),
    ("dropped-ack-cache-too-small", Any("its daemon is its own")),
    ("hang-behind-backlog", First("accept_queue_waiting")),
    ("workers-busy", Any("its workers end with it: it asks while they work")),
    ("accept-wait-cookies", First("syncookies_always")),
    ("closed-with-full-queue", First("listener_closed")),
    ("dead-in-the-queue", Nothing),
    ("established-exactly", Any("whether packets of unknown connections are answered differs by kernel")),
    ("half-open", Nothing),
    ("spike-between-scrapes", Nothing),
    ("namespace-churn", Any("many namespaces, one after the other")),
    ("visible", Any("single drops, asked for before a stall can be told from a pause")),
    ("reopen", Any("listeners are closed and overflow at once")),
    ("many-listeners", Any("a thousand listeners, each with its own")),
    ("real-servers", Any("no client comes: there is nothing to explain")),
    ("nginx-stopped", First("accept_queue_stalled")),
    ("nginx-backlog-4", Root("accept_queue_burst")),
    ("nginx-keep-alive", First("keepalive_race")),
    (
        "nginx-https-healthy",
        Any("scans and closing peers are absorbed: the experiment checks each verdict itself"),
    ),
    ("owner-stopped", First("accept_queue_stalled")),
    ("owner-out-of-files", First("accept_queue_stalled")),
    ("owner-throttled", Any("stalled or slow, by the pause between two periods of its quota")),
    ("owner-frozen", First("accept_queue_stalled")),
    ("namespaces", Any("asked for before a stall can be told from a pause")),
];

/// Returns the expected diagnosis of the experiment `name`.
pub(super) fn expected(name: &str) -> Expected {
    let unknown = Any("nothing is stated for it");
    EXPECTED.iter().find(|(known, _)| *known == name).map_or(unknown, |(_, expected)| *expected)
}

/// Fetches the verdicts on a namespace since a moment, worst first.
/// Verdicts on netqueue itself (`netqueue_blind`) are left out.
pub(super) fn verdicts(server: &Server, netns: u64, since: SystemTime) -> Result<Vec<Verdict>> {
    asked(server, &format!("netns={netns}"), since)
}

/// Fetches the verdicts on one port of a namespace since a moment, worst first.
pub(super) fn at_port(server: &Server, netns: u64, port: u16, since: SystemTime) -> Result<Vec<Verdict>> {
    asked(server, &format!("netns={netns}&port={port}"), since)
}

fn asked(server: &Server, place: &str, since: SystemTime) -> Result<Vec<Verdict>> {
    let since = since.duration_since(SystemTime::UNIX_EPOCH)?;
    let (seconds, nanos) = (since.as_secs(), since.subsec_nanos());
    let answer = server.ask::<Diagnosis>(&format!("/api/v1/diagnosis?{place}&since={seconds}.{nanos:09}"))?;
    Ok(answer.data.verdicts.into_iter().filter(|verdict| verdict.rule != "netqueue_blind").collect())
}

/// Fetches the sentences about what moved beside netqueue's own counters in a namespace since a moment.
pub(super) fn beside(server: &Server, netns: u64, since: SystemTime) -> Result<Vec<String>> {
    let since = since.duration_since(SystemTime::UNIX_EPOCH)?;
    let (seconds, nanos) = (since.as_secs(), since.subsec_nanos());
    let path = format!("/api/v1/diagnosis?netns={netns}&since={seconds}.{nanos:09}");
    let answer = server.ask::<Diagnosis>(&path)?;
    Ok(answer.data.beside.into_iter().map(|one| one.sentence).collect())
}

/// Returns the deviation of the verdicts from the expected diagnosis, if any.
pub(super) fn wrong(expected: Expected, verdicts: &[Verdict]) -> Option<String> {
    let said = || match verdicts {
        [] => "nothing".to_owned(),
        verdicts => verdicts.iter().map(words).collect::<Vec<_>>().join("; "),
    };
    let right = match expected {
        First(rule) => verdicts.first().is_some_and(|first| first.rule == rule || is_as_good_as(first, rule)),
        Root(rule) => verdicts.first().is_some_and(|first| root(first) == rule),
        Led(rule, consequence) => verdicts.first().is_some_and(|first| {
            let leads = first.consequences.iter().any(|one| one == consequence);
            leads && (first.rule == rule || is_as_good_as(first, rule))
        }),
        Nothing => verdicts.is_empty(),
        Any(_) => true,
    };
    let wanted = match expected {
        First(rule) => format!("{rule} first"),
        Root(rule) => format!("first what comes from {rule}"),
        Led(rule, consequence) => format!("{rule} first, with {consequence} as its consequence"),
        Nothing => "nothing".to_owned(),
        Any(why) => format!("anything ({why})"),
    };
    (!right).then(|| format!("the diagnosis must say {wanted}, and says: {}", said()))
}

/// Returns whether a verdict may stand in for the expected `rule`: a burst for a stall.
/// Without accept() counts netqueue cannot distinguish the two, and the verdict reports the missing counts.
fn is_as_good_as(verdict: &Verdict, rule: &str) -> bool {
    let uncounted = verdict.missing.iter().any(|missing| missing.contains("were accepted"));
    rule == "accept_queue_stalled" && verdict.rule == "accept_queue_burst" && uncounted
}

/// Returns the rule of the root cause: the verdict's own, or the one of which it is a consequence.
pub(super) fn root(verdict: &Verdict) -> &str {
    verdict.because.as_ref().map_or(&verdict.rule, |because| &because.rule)
}

/// Returns the value of a number that supports the verdict.
pub(super) fn fact(verdict: &Verdict, name: &str) -> Option<f64> {
    verdict.evidence.iter().find(|fact| fact.name == name).map(|fact| fact.value)
}

/// Formats a verdict in one line.
pub(super) fn words(verdict: &Verdict) -> String {
    let Verdict { rule, impact, affected, confidence, summary, because, .. } = verdict;
    let because =
        because.as_ref().map_or(String::new(), |cause| format!(" Cause ({}): {}", cause.rule, cause.summary));
    format!("{rule} ({impact}, {affected} affected, {confidence} confidence): {summary}{because}")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::experiments;
    use netqueue_domain::diagnosis::RULES;

    #[test]
    fn every_experiment_states_its_first_verdict_and_every_verdict_is_one_netqueue_knows() {
        let stated: BTreeSet<_> = EXPECTED.iter().map(|(name, _)| *name).collect();
        let there: BTreeSet<_> = experiments::ALL.iter().map(|experiment| experiment.name).collect();
        assert_eq!(stated, there, "diagnosis.rs states what must be said first of each");
        for (name, expected) in EXPECTED {
            let rules = match expected {
                First(rule) | Root(rule) => vec![*rule],
                Led(rule, consequence) => vec![*rule, *consequence],
                Nothing | Any(_) => Vec::new(),
            };
            for rule in rules {
                assert!(RULES.iter().any(|known| known.id == rule), "{name}: no rule is called {rule}");
            }
        }
    }
}
