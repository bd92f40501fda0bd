//! Tests of each rule: an incident on which it must come first, and one on which it must stay silent.

mod counterfactual;
mod gathered;
mod incidents;
mod neighbours;
mod owner;
mod queues;
mod sentences;
mod silence;
mod verdict_text;

use std::{net::Ipv4Addr, sync::Arc, time::Duration};

use super::*;
use crate::{
    AccountId, AccountKey, Counts, DropKind, Endpoint, Handshakes, KernelCounter, Netns, ResetCause,
    SocketId, Timestamp,
};

fn at() -> Endpoint {
    Endpoint { netns: Netns::at_attach(7), addr: Ipv4Addr::UNSPECIFIED.into(), port: 80 }
}

fn listener() -> Subject {
    Subject::Account(AccountId(1), AccountKey::Listener { socket: SocketId(1), at: at() })
}

fn endpoint() -> Subject {
    Subject::Account(AccountId(2), AccountKey::Endpoint(at()))
}

fn seconds(number: u64) -> Timestamp {
    Timestamp::from_nanos(number * 1_000_000_000)
}

fn window() -> (Timestamp, Timestamp) {
    (seconds(100), seconds(160))
}

/// Creates evidence of a listener with these charges.
fn charged(counts: Counts) -> Evidence {
    Evidence::of(listener(), window(), counts)
}

fn drops(kind: DropKind, number: u64) -> Counts {
    Counts::from_fn(|of| if of == kind { number } else { 0 }, |_| 0, |_| 0)
}

fn resets(cause: ResetCause, number: u64) -> Counts {
    Counts::from_fn(|_| 0, |of| if of == cause { number } else { 0 }, |_| 0)
}

fn kernel(numbers: &[(KernelCounter, u64)]) -> Counts {
    let number = |of| numbers.iter().find(|(counter, _)| *counter == of).map_or(0, |(_, number)| *number);
    Counts::from_fn(|_| 0, |_| 0, number)
}

fn both(one: Counts, other: Counts) -> Counts {
    let mut sum = one;
    sum.add(&other);
    sum
}

fn answer(remedy: Remedy, refused: u64) -> Option<Counterfactual> {
    Some(Counterfactual {
        remedy,
        refused,
        clients_gave_up: false,
        confidence: Confidence::High,
        assumptions: Vec::new(),
    })
}

fn backlog(smallest: u32) -> Remedy {
    Remedy::Backlog { smallest, proposed: smallest + smallest / 16, longest_wait: None }
}

fn flow(seconds: u64, entered: u64, accepted: u64) -> Option<QueueFlow> {
    Some(QueueFlow { span: Duration::from_secs(seconds), entered, accepted })
}

fn nginx() -> Option<ListeningProcess> {
    Some(ListeningProcess { name: Arc::from("nginx"), pid: 812, unit: Some(Arc::from("nginx.service")) })
}

/// Creates evidence of a burst of 500 over a backlog of 128, observed in full.
fn burst() -> Evidence {
    Evidence {
        flow: flow(3, 500, 500),
        backlog: Some(128),
        bound_by: Some(Bound::ListenArgument),
        listen_argument: Some(128),
        settings: SysctlValues {
            somaxconn: Some(4096),
            abort_on_overflow: Some(0),
            ..SysctlValues::default()
        },
        owner: nginx(),
        counterfactual: answer(backlog(499), 371),
        ..charged(drops(DropKind::AcceptQueueFullSyn, 1113))
    }
}

/// Adds a stall that goes on: clients have waited for so long, and some were dropped meanwhile.
fn stalls(lasted: u64, waiting: u32, evidence: Evidence) -> Evidence {
    let stall = Stall { since: seconds(160 - lasted), until: seconds(160), waiting };
    Evidence {
        accepting: Accepting { stalled: Some(stall), ..Accepting::default() },
        dropped: Some((seconds(161 - lasted), seconds(159))),
        last_charge: Some(seconds(159)),
        ..evidence
    }
}

/// Adds a stall that ended at second 140, and the drops that it caused.
fn stalled(lasted: u64, waiting: u32, evidence: Evidence) -> Evidence {
    let stall = Stall { since: seconds(140 - lasted), until: seconds(140), waiting };
    Evidence {
        accepting: Accepting { longest_stall: Some(stall), ..Accepting::default() },
        dropped: Some((seconds(141 - lasted), seconds(139))),
        last_charge: Some(seconds(139)),
        ..evidence
    }
}

fn rules(evidence: &Evidence) -> Vec<&'static str> {
    evaluate([evidence]).into_iter().map(|verdict| verdict.rule).collect()
}

fn of_rule(evidence: &Evidence, rule: &str) -> Verdict {
    evaluate([evidence]).into_iter().find(|verdict| verdict.rule == rule).expect("a verdict of this rule")
}

fn first(evidence: &Evidence) -> Verdict {
    evaluate([evidence]).into_iter().next().expect("a verdict")
}

#[test]
fn every_rule_has_a_name_of_its_own_and_speaks_plainly() {
    let names: std::collections::HashSet<_> = RULES.iter().map(|rule| rule.id).collect();
    assert_eq!(names.len(), RULES.len());
    for rule in RULES {
        assert!(rule.id.chars().all(|c| c.is_ascii_lowercase() || c == '_'), "{}", rule.id);
        assert!(
            !rule.advice.is_empty() && !rule.check_next.is_empty() && !rule.title.is_empty(),
            "{}",
            rule.id
        );
    }
}

/// Rejects advice of old tools and articles that is not true, or not true any more.
#[test]
fn no_rule_repeats_the_folklore() {
    let words: Vec<String> = RULES
        .iter()
        .flat_map(|rule| rule.advice.iter().chain(rule.check_next).chain([&rule.title]))
        .map(|text| text.to_lowercase())
        .collect();
    for wrong in ["tcpbacklogdrop", "sk_drops", "raise tcp_max_syn_backlog to enlarge", "listendrops +"] {
        assert!(!words.iter().any(|text| text.contains(wrong)), "{wrong}");
    }
    // Raising tcp_max_syn_backlog is advice for the last-quarter rule alone.
    let raising =
        RULES.iter().filter(|rule| rule.advice.iter().any(|text| text.contains("raise tcp_max_syn_backlog")));
    assert_eq!(raising.map(|rule| rule.id).collect::<Vec<_>>(), ["syn_backlog_reserve"]);
}
