//! Full accept queues: the process stalls or is too slow, or a burst was larger than the backlog.

use super::super::{
    Confidence, ConsequenceOf, Evidence, Fact, Finding, Impact, Knob, Need, Rule,
    counterfactual::Remedy,
    evidence::{Bound, Group},
};
use super::{
    backlog::{backlog_knobs, default_backlog, limit, software},
    count, fact, owner,
    words::{choose, number, overflow_symptoms, rates, seconds, until, who, who_first},
};
use crate::{DropCause, DropKind, ResetCause};

const CHECK: &[&str] = &[
    "Compare netqueue_accept_queue_peak with netqueue_accept_queue_limit for this listener.",
    "Read netqueue_accept_wait_seconds of this listener: the time that connections wait for accept().",
    "Check the process for CPU throttling (nr_throttled in cpu.stat of its cgroup) and run-queue latency.",
    "List the events of this listener: they have the clients and the stage of each drop.",
];

pub(super) const STALLED: Rule = Rule {
    id: "accept_queue_stalled",
    title: "accept queue full: the process accepted nothing",
    needs: &[Need::QueueFlow, Need::Refusals, Need::Limit, Need::Owner, Need::AbortOnOverflow],
    evaluate: stalled,
    consequence_of: Some(ConsequenceOf { causes: NARROWER, sentence: None }),
    advice: &[
        "Do not raise the backlog: before a process that does not accept, a larger queue only makes more clients wait in vain.",
    ],
    check_next: &[
        "Read its stack if its state does not explain it: a deadlock, or an event loop that waits for something.",
        "Read netqueue_accept_wait_seconds of this listener.",
    ],
};

pub(super) const SLOW: Rule = Rule {
    id: "accept_queue_slow",
    title: "accept queue full: connections arrive faster than the process accepts them",
    needs: &[Need::QueueFlow, Need::Refusals, Need::Limit, Need::Owner, Need::AbortOnOverflow],
    evaluate: slow,
    consequence_of: Some(ConsequenceOf { causes: NARROWER, sentence: None }),
    advice: &[
        "Do not raise the backlog: while more connections arrive than are accepted, any queue fills, and clients only wait longer.",
        "Make the process accept faster: more workers or threads that call accept(), a loop until EAGAIN, no slow work between two \
         calls, more CPU.",
        "Send it less traffic: its share of the load exceeds what it accepts, whatever the size of the machine.",
        "Ignore handshakes in SYN_RECV: they are a consequence of the full accept queue, not a second problem.",
    ],
    check_next: CHECK,
};

pub(super) const BURST: Rule = Rule {
    id: "accept_queue_burst",
    title: "accept queue full: a burst larger than the backlog",
    needs: &[Need::QueueFlow, Need::Refusals, Need::Limit, Need::Owner, Need::AbortOnOverflow],
    evaluate: burst,
    consequence_of: Some(ConsequenceOf { causes: NARROWER, sentence: None }),
    advice: &[
        "Spread the burst: clients that connect a few milliseconds apart, or with jitter, need no larger backlog.",
    ],
    check_next: CHECK,
};

pub(super) const LIMIT_NEEDS_RELISTEN: Rule = Rule {
    id: "limit_needs_relisten",
    title: "accept queue full: somaxconn was raised, but the listener still has its old backlog",
    needs: &[Need::Refusals, Need::Owner],
    evaluate: needs_relisten,
    consequence_of: None,
    advice: &[
        "Reload or restart the program: the kernel applies the sysctl only when the program calls listen() again.",
    ],
    check_next: &[
        "Read Send-Q of the listener in ss -lnt: it is the backlog in force.",
        "Read the sysctl in the listener's own network namespace: each namespace has its own.",
    ],
};

pub(super) const REUSEPORT_MEMBER_STALLED: Rule = Rule {
    id: "reuseport_member_stalled",
    title: "accept queue full: one member of an SO_REUSEPORT group does not keep up",
    needs: &[Need::QueueFlow, Need::Refusals, Need::Owner],
    evaluate: reuseport_member,
    consequence_of: None,
    advice: &[
        "The kernel assigns each client to a member by its address and port, busy or not: the other members cannot help the \
         clients of this one.",
        "Close a socket from which no process accepts any more; restart a worker that does not recover.",
    ],
    check_next: &[
        "Find the process that holds the socket, by the inode in netqueue listeners and in ss -lntpe.",
        "Consider net.ipv4.tcp_migrate_req=1 (kernel 5.14 or later): it moves waiting connections to another member when the \
         socket is closed.",
    ],
};

/// Reasons that say more than that the process stalls, is slow, or met a burst.
const NARROWER: &[&Rule] = &[&REUSEPORT_MEMBER_STALLED, &LIMIT_NEEDS_RELISTEN];

/// Reasons for a full accept queue; the one that explains most comes first.
pub(super) const REASONS: &[&Rule] =
    &[&REUSEPORT_MEMBER_STALLED, &LIMIT_NEEDS_RELISTEN, &STALLED, &SLOW, &BURST];

fn stalled(evidence: &Evidence) -> Option<Finding> {
    if overflows(evidence) == 0 {
        return None;
    }
    let affected = not_reset(evidence);
    let (present, stall) = match evidence.present_stall() {
        Some(stall) => (true, stall),
        None => (false, evidence.past_stall()?),
    };
    let lasted = seconds(stall.lasted());
    let full =
        format!("the kernel {} because its accept queue{} was full", turned_away(evidence), limit(evidence));
    let stalled = match present {
        true => {
            format!("has accepted nothing for {lasted}: {} for accept(), and {full}.", waiting(stall.waiting))
        }
        false => format!("accepted nothing for {lasted}, {}; {full}.", until(evidence, stall.until)),
    };
    let (doubt, confidence) = match evidence.early() {
        Some(age) => (format!(" {}, too early to tell a stall from a pause.", early(age)), Confidence::Low),
        None => (String::new(), Confidence::High),
    };
    Some(Finding {
        impact: if affected > 0 && present { Impact::NeverServed } else { Impact::Delayed },
        affected,
        confidence,
        summary: format!("{} {stalled}{doubt}", owner::subject(evidence)),
        clients_see: overflow_symptoms(evidence),
        facts: [
            facts(evidence),
            vec![fact("not_accepting_for", stall.lasted().as_secs_f64(), "s")],
            owner::facts(evidence),
        ]
        .concat(),
        advice: owner::advice(evidence),
        knobs: owner::knobs(evidence),
    })
}

fn slow(evidence: &Evidence) -> Option<Finding> {
    let Remedy::Faster { arrivals, accepts } = remedy(evidence)? else { return None };
    if overflows(evidence) == 0 || stalled(evidence).is_some() {
        return None;
    }
    let (verbs, enough) = match evidence.goes_on() {
        true => (["accepts", "arrive"], "no backlog is enough"),
        false => (["accepted", "arrived"], "no backlog would have been enough"),
    };
    Some(Finding {
        impact: of_turned_away(evidence),
        affected: not_reset(evidence),
        confidence: evidence.early().map_or(Confidence::High, |_| Confidence::Medium),
        summary: owner::led(
            evidence,
            &format!(
                "{} {}: {enough}. The kernel {} because the accept queue{} was full.",
                who_first(evidence),
                rates(verbs, *accepts, *arrivals),
                turned_away(evidence),
                limit(evidence),
            ),
        ),
        clients_see: overflow_symptoms(evidence),
        facts: [
            facts(evidence),
            vec![fact("arrivals", *arrivals, "1/s"), fact("accepts", *accepts, "1/s")],
            owner::facts(evidence),
        ]
        .concat(),
        advice: owner::advice_if_found(evidence),
        knobs: owner::knobs(evidence),
    })
}

fn burst(evidence: &Evidence) -> Option<Finding> {
    if overflows(evidence) == 0 || stalled(evidence).is_some() || slow(evidence).is_some() {
        return None;
    }
    let refused =
        format!("The kernel {} because the accept queue{} was full.", turned_away(evidence), limit(evidence));
    let too_early = |age| format!("{refused} {}, too early to tell a burst from an overload.", early(age));
    let (summary, knobs) = match (evidence.early(), remedy(evidence)) {
        (Some(age), _) => (too_early(age), Vec::new()),
        // The listener called listen() again since.
        (None, Some(Remedy::Backlog { smallest, .. })) if evidence.backlog >= Some(*smallest) => {
            let turned_away = turned_away(evidence);
            let summary = format!(
                "The kernel {turned_away} because the accept queue was full, when its backlog was smaller. The present one{} would have \
                 been enough.",
                evidence.backlog.map_or(String::new(), |backlog| format!(" ({backlog})"))
            );
            (summary, Vec::new())
        }
        (None, Some(Remedy::Backlog { smallest, proposed, longest_wait })) => {
            let wait = longest_wait.map_or(String::new(), |wait| {
                format!("; the longest wait for accept() would then have been {}", seconds(wait))
            });
            let summary = format!("{refused} A backlog of {smallest} would have been enough{wait}.");
            (summary, backlog_knobs(evidence, *proposed))
        }
        (None, Some(Remedy::Faster { .. } | Remedy::TooEarly) | None) => (refused, Vec::new()),
    };
    let confidence = evidence.counterfactual.as_ref().map_or(Confidence::Low, |answer| answer.confidence);
    Some(Finding {
        impact: of_turned_away(evidence),
        affected: not_reset(evidence),
        confidence: evidence.early().map_or(confidence, |_| Confidence::Low),
        summary,
        clients_see: overflow_symptoms(evidence),
        facts: facts(evidence),
        advice: default_backlog(evidence).into_iter().collect(),
        knobs,
    })
}

/// Returns what being turned away means: a second's delay, unless the clients do not try again.
fn of_turned_away(evidence: &Evidence) -> Impact {
    let gone = evidence.counterfactual.as_ref().is_some_and(|answer| answer.clients_gave_up);
    if gone { Impact::NeverServed } else { Impact::Delayed }
}

/// Says how long ago the first drop was.
fn early(age: std::time::Duration) -> String {
    format!("The first drop was {} ago", seconds(age))
}

/// Says how many connections wait: `70 connections wait`.
pub(super) fn waiting(connections: u32) -> String {
    let verb = choose(connections.into(), "waits", "wait");
    format!("{} {verb}", number(connections.into(), "connection"))
}

fn needs_relisten(evidence: &Evidence) -> Option<Finding> {
    let (Some(Bound::EarlierSomaxconn), Some(backlog), Some(somaxconn)) =
        (evidence.bound_by, evidence.backlog, evidence.settings.somaxconn)
    else {
        return None;
    };
    if overflows(evidence) == 0 || evidence.closed {
        return None;
    }
    let base = stalled(evidence).or_else(|| slow(evidence)).or_else(|| burst(evidence))?;
    let asked = evidence
        .listen_argument
        .map_or(String::new(), |asked| format!(" with a backlog argument of {asked}"));
    Some(Finding {
        confidence: Confidence::High,
        summary: format!(
            "net.core.somaxconn is {somaxconn} now, but it was {backlog} when {} called listen(){asked}: the backlog in force is \
             still {backlog}. {}",
            who(evidence),
            base.summary
        ),
        knobs: vec![Knob {
            name: "backlog in force".to_owned(),
            set_by: software(evidence)
                .map_or("a restart of the program, which must call listen() again", |known| {
                    known.backlog_set_by
                })
                .to_owned(),
            current: Some(backlog.to_string()),
            proposed: evidence.listen_argument.map_or(somaxconn, |asked| asked.min(somaxconn)).to_string(),
        }],
        ..base
    })
}

fn reuseport_member(evidence: &Evidence) -> Option<Finding> {
    let group = evidence.group?;
    let drops = overflows(evidence);
    // Some others must be healthy: if none is, the fault is not this member's alone.
    if drops == 0 || group.well == 0 {
        return None;
    }
    let stalled = evidence.present_stall().is_some();
    let clients = evidence.counterfactual.as_ref().map(|answer| answer.refused);
    Some(Finding {
        impact: if stalled { Impact::NeverServed } else { Impact::Delayed },
        affected: not_reset(evidence),
        confidence: if group.accepts_known { Confidence::High } else { Confidence::Medium },
        summary: owner::led(
            evidence,
            &format!(
                "1 of {} sockets on this port dropped {}{} because its accept queue was full, while {}: {} does not keep up with \
             this socket's share.",
                group.others + 1,
                number(drops, "packet"),
                clients.map_or(String::new(), |clients| format!(" of {}", number(clients, "client"))),
                healthy(group),
                who(evidence),
            ),
        ),
        clients_see: overflow_symptoms(evidence),
        facts: [
            facts(evidence),
            vec![
                count("group_members", u64::from(group.others) + 1, "sockets"),
                count("others_that_are_well", u64::from(group.well), "sockets"),
                count("drops_of_the_others", group.drops, "packets"),
            ],
            owner::facts(evidence),
        ]
        .concat(),
        advice: if stalled { owner::advice(evidence) } else { owner::advice_if_found(evidence) },
        knobs: owner::knobs(evidence),
    })
}

/// Describes the healthy members of a group, of which there is at least one.
fn healthy(group: Group) -> String {
    let Group { others, well, .. } = group;
    let are = choose(well.into(), "is", "are");
    match (well == others, others) {
        (true, 1) => "the other socket is healthy".to_owned(),
        (true, _) => format!("the other {others} {are} healthy"),
        (false, _) => format!("{well} of the other {others} {are} healthy"),
    }
}

fn remedy(evidence: &Evidence) -> Option<&Remedy> {
    evidence.counterfactual.as_ref().map(|answer| &answer.remedy)
}

pub(super) fn overflows(evidence: &Evidence) -> u64 {
    evidence.drops_by(DropCause::AcceptQueueFull)
}

/// Returns the refused clients that no other verdict covers. Excludes clients that were reset or became
/// ghosts, and those that a later ACK let in.
fn not_reset(evidence: &Evidence) -> u64 {
    let aborted = evidence.resets(ResetCause::OverflowAbort);
    let seen = evidence.counts.handshakes();
    let elsewhere = aborted + seen.ghosts + seen.expired + seen.recovered;
    evidence.refused().saturating_sub(elsewhere)
}

/// Describes what the kernel did because of a full accept queue.
/// Without events the drops are known, but not the clients.
fn turned_away(evidence: &Evidence) -> String {
    let refused = evidence.refused();
    match evidence.counterfactual {
        Some(_) => format!("turned away {}", number(refused, "client")),
        None => format!("dropped {}", number(refused, "packet")),
    }
}

fn facts(evidence: &Evidence) -> Vec<Fact> {
    let flow = evidence.flow;
    let optional = [
        evidence.backlog.map(|backlog| fact("backlog", backlog, "connections")),
        evidence.accept_peak.map(|peak| fact("accept_queue_peak", peak, "connections")),
        evidence.waiting.map(|waiting| fact("waiting_for_accept", waiting, "connections")),
        evidence.wait_p99.map(|wait| fact("accept_wait_p99", wait, "s")),
        flow.map(|flow| fact("drops_lasted", flow.span.as_secs_f64(), "s")),
        flow.map(|flow| count("entered_meanwhile", flow.entered, "connections")),
        flow.map(|flow| count("accepted_meanwhile", flow.accepted, "connections")),
    ];
    let always = [
        count("clients_refused", evidence.refused(), "clients"),
        count("drops_at_syn", evidence.drops(DropKind::AcceptQueueFullSyn), "packets"),
        count("drops_at_final_ack", evidence.drops(DropKind::AcceptQueueFullAck), "packets"),
        count("drops_at_cookie_ack", evidence.drops(DropKind::AcceptQueueFullCookieAck), "packets"),
    ];
    always.into_iter().chain(optional.into_iter().flatten()).collect()
}
