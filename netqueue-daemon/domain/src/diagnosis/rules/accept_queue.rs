//! Full accept queues: the process stalls or is too slow, or a burst was larger than the backlog.

use std::time::Duration;

use super::super::{
    Confidence, Evidence, Fact, Finding, Impact, Knob, Need, Rule,
    counterfactual::Remedy,
    evidence::{Bound, Group},
    software,
};
use super::{
    count, fact, owner,
    words::{choose, number, overflow_symptoms, rate, who},
};
use crate::{DropCause, DropKind, ResetCause};

/// Time without accepts, while clients wait, from which on a process has stalled rather than paused.
const STALL: Duration = Duration::from_secs(1);

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
    causes: &[],
    advice: &[
        "Do not raise the backlog: while the process accepts nothing, a larger queue only makes more clients wait in vain.",
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
    causes: &[],
    advice: &[
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
    causes: &[],
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
    causes: &[],
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
    causes: &[],
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

/// Reasons for a full accept queue; the one that explains most comes first.
pub(super) const REASONS: &[&Rule] =
    &[&REUSEPORT_MEMBER_STALLED, &LIMIT_NEEDS_RELISTEN, &STALLED, &SLOW, &BURST];

fn stalled(evidence: &Evidence) -> Option<Finding> {
    if overflows(evidence) == 0 || evidence.not_accepting_for? < STALL {
        return None;
    }
    let seconds = evidence.not_accepting_for.unwrap_or_default().as_secs_f64();
    let affected = not_reset(evidence);
    Some(Finding {
        impact: if affected > 0 { Impact::NeverServed } else { Impact::Delayed },
        affected,
        confidence: Confidence::High,
        summary: format!(
            "{} accepted nothing for {seconds:.1} s while its accept queue{} was full; the kernel {}.",
            owner::subject(evidence),
            limit(evidence),
            turned_away(evidence),
        ),
        clients_see: overflow_symptoms(evidence),
        facts: [facts(evidence), vec![fact("not_accepting_for", seconds, "s")], owner::facts(evidence)]
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
    Some(Finding {
        impact: Impact::Delayed,
        affected: not_reset(evidence),
        confidence: Confidence::High,
        summary: owner::led(
            evidence,
            &format!(
                "No backlog would have been enough: {} connections arrived per second, and {} accepted {} per second. The kernel {} \
             because the accept queue{} was full.",
                rate(*arrivals),
                who(evidence),
                rate(*accepts),
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
    let (summary, knobs) = match remedy(evidence) {
        Some(Remedy::Backlog { smallest, proposed, longest_wait }) => {
            let wait = longest_wait.map_or(String::new(), |wait| {
                format!("; the longest wait for accept() would then have been {:.1} s", wait.as_secs_f64())
            });
            let summary = format!("{refused} A backlog of {smallest} would have been enough{wait}.");
            (summary, backlog_knobs(evidence, *proposed))
        }
        Some(Remedy::Faster { .. }) | None => (refused, Vec::new()),
    };
    Some(Finding {
        impact: Impact::Delayed,
        affected: not_reset(evidence),
        confidence: evidence.counterfactual.as_ref().map_or(Confidence::Low, |answer| answer.confidence),
        summary,
        clients_see: overflow_symptoms(evidence),
        facts: facts(evidence),
        advice: default_backlog(evidence).into_iter().collect(),
        knobs,
    })
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
    let stalled = evidence.not_accepting_for.is_some_and(|time| time >= STALL);
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

/// Returns the settings for a backlog of `proposed`: of listen(), and of somaxconn if it is lower.
fn backlog_knobs(evidence: &Evidence, proposed: u32) -> Vec<Knob> {
    let known = software(evidence);
    let listen = Knob {
        name: known.map_or("the backlog argument of listen()".to_owned(), |known| {
            format!("the listen backlog of {}", known.names[0])
        }),
        set_by: known
            .map_or("the program's own setting; it must call listen() again", |known| known.backlog_set_by)
            .to_owned(),
        current: evidence.listen_argument.or(evidence.backlog).map(|backlog| backlog.to_string()),
        proposed: proposed.to_string(),
    };
    let enough_asked = evidence.listen_argument.is_some_and(|asked| asked >= proposed);
    let somaxconn = evidence.settings.somaxconn;
    let allowed = somaxconn.is_some_and(|most| most >= proposed);
    let sysctl = Knob {
        name: "net.core.somaxconn".to_owned(),
        set_by: "sysctl in the network namespace of the listener; the program must then call listen() again"
            .to_owned(),
        current: somaxconn.map(|most| most.to_string()),
        proposed: format!("at least {proposed}"),
    };
    let listen = (!enough_asked).then_some(listen);
    let sysctl = (!allowed).then_some(sysctl);
    listen.into_iter().chain(sysctl).collect()
}

/// Returns advice if the backlog in force is the default of the software.
fn default_backlog(evidence: &Evidence) -> Option<String> {
    let known = software(evidence)?;
    let default = known.backlog?;
    (evidence.bound_by == Some(Bound::ListenArgument) && evidence.backlog == Some(default)).then(|| {
        format!(
            "{default} is the default backlog of {}. To change it: {}.",
            known.names[0], known.backlog_set_by
        )
    })
}

fn software(evidence: &Evidence) -> Option<&'static software::Software> {
    evidence.software().and_then(software::of)
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

fn limit(evidence: &Evidence) -> String {
    evidence.backlog.map_or(String::new(), |backlog| {
        let set = match evidence.bound_by {
            Some(Bound::ListenArgument) => ", set by the listen() call",
            Some(Bound::Somaxconn) => ", capped by net.core.somaxconn",
            Some(Bound::EarlierSomaxconn) => ", capped by net.core.somaxconn before it was raised",
            None => "",
        };
        format!(" (backlog {backlog}{set})")
    })
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
