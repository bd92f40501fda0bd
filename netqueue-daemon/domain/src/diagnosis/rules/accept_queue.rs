//! Full accept queues: the process stalls or is too slow, or a burst was larger than the backlog.

use std::time::Duration;

use super::super::{
    Confidence, Evidence, Fact, Finding, Impact, Knob, Need, Rule, counterfactual::Remedy, evidence::Bound,
    software,
};
use super::{count, fact, number};
use crate::{DropCause, DropKind, ResetCause};

/// Time without accepts, while clients wait, from which on a process has stalled rather than paused.
const STALL: Duration = Duration::from_secs(1);

const CHECK: &[&str] = &[
    "netqueue_accept_queue_peak against netqueue_accept_queue_limit of this listener",
    "netqueue_accept_wait_seconds of this listener: how long connections wait for accept()",
    "CPU throttling (nr_throttled in cpu.stat of its cgroup) and run-queue latency of the process",
    "the events of this listener: which clients, at which stage",
];

pub(super) const STALLED: Rule = Rule {
    id: "accept_queue_stalled",
    title: "accept queue full: the process accepts nothing",
    needs: &[Need::QueueFlow, Need::Refusals, Need::Limit, Need::Owner, Need::AbortOnOverflow],
    evaluate: stalled,
    causes: &[],
    advice: &[
        "find out what the process waits for: it is stopped, deadlocked, out of file descriptors (EMFILE in accept()), or its event \
         loop is blocked",
        "a larger backlog does not help a process that accepts nothing: it lets more clients wait in vain",
    ],
    check_next: &[
        "the state of the process (State in /proc/PID/status: T is stopped, D waits for a device) and its stack",
        "open files against its limit: ls /proc/PID/fd | wc -l, and Max open files in /proc/PID/limits",
        "netqueue_accept_wait_seconds of this listener",
    ],
};

pub(super) const SLOW: Rule = Rule {
    id: "accept_queue_slow",
    title: "accept queue full: the process accepts more slowly than clients come",
    needs: &[Need::QueueFlow, Need::Refusals, Need::Limit, Need::Owner, Need::AbortOnOverflow],
    evaluate: slow,
    causes: &[],
    advice: &[
        "make the process accept faster: more workers or threads that accept, accept in a loop until EAGAIN, no slow work between \
         two accepts, more CPU",
        "send it less: its share of the load exceeds what it takes, however large the machine",
        "handshakes in SYN_RECV are a consequence of the full accept queue, not a second problem",
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
        "or spread the burst: clients that connect with some milliseconds between them, or with jitter, need no larger queue",
    ],
    check_next: CHECK,
};

pub(super) const LIMIT_NEEDS_RELISTEN: Rule = Rule {
    id: "limit_needs_relisten",
    title: "accept queue full: somaxconn was raised, but the listener still has its old backlog",
    needs: &[Need::Refusals, Need::Owner],
    evaluate: needs_relisten,
    causes: &[],
    advice: &["a sysctl is read by listen() only: the program must call it again, by a reload or a restart"],
    check_next: &[
        "Send-Q of the listener in ss -lnt: the backlog in force",
        "the sysctl in the listener's own network namespace: each has its own",
    ],
};

pub(super) const REUSEPORT_MEMBER_STALLED: Rule = Rule {
    id: "reuseport_member_stalled",
    title: "accept queue full: one member of an SO_REUSEPORT group does not keep up",
    needs: &[Need::QueueFlow, Need::Refusals, Need::Owner],
    evaluate: reuseport_member,
    causes: &[],
    advice: &[
        "the kernel gives each client to a member by its address and port, busy or not: its clients are not helped by the other \
         members",
        "find out what that one worker waits for, or restart it; a socket that nobody accepts from any more must be closed",
    ],
    check_next: &[
        "which process holds the socket: the inode in netqueue listeners, and ss -lntpe",
        "net.ipv4.tcp_migrate_req=1 (from 5.14) moves what waits to another member when the socket is closed",
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
    let who = who(evidence);
    let affected = not_reset(evidence);
    Some(Finding {
        impact: if affected > 0 { Impact::NeverServed } else { Impact::Delayed },
        affected,
        confidence: Confidence::High,
        summary: format!(
            "{who} has accepted nothing for {seconds:.1} s and its accept queue{limit} is full: {refused} refused.",
            limit = limit(evidence),
            refused = number(evidence.refused(), "client"),
        ),
        clients_see: clients_see(evidence),
        facts: [facts(evidence), vec![fact("not_accepting_for", seconds, "s")]].concat(),
        advice: Vec::new(),
        knobs: Vec::new(),
    })
}

fn slow(evidence: &Evidence) -> Option<Finding> {
    let Remedy::Faster { arrivals, accepts } = remedy(evidence)? else { return None };
    if overflows(evidence) == 0 || stalled(evidence).is_some() {
        return None;
    }
    let who = who(evidence);
    Some(Finding {
        impact: Impact::Delayed,
        affected: not_reset(evidence),
        confidence: Confidence::High,
        summary: format!(
            "no backlog would have been enough: {who} accepts {accepts:.0} connections per second and {arrivals:.0} arrive; \
             {refused} found the queue{limit} full.",
            limit = limit(evidence),
            refused = number(evidence.refused(), "client"),
        ),
        clients_see: clients_see(evidence),
        facts: [facts(evidence), vec![fact("arrivals", *arrivals, "1/s"), fact("accepts", *accepts, "1/s")]]
            .concat(),
        advice: Vec::new(),
        knobs: Vec::new(),
    })
}

fn burst(evidence: &Evidence) -> Option<Finding> {
    if overflows(evidence) == 0 || stalled(evidence).is_some() || slow(evidence).is_some() {
        return None;
    }
    let refused = number(evidence.refused(), "client");
    let (summary, knobs) = match remedy(evidence) {
        Some(Remedy::Backlog { smallest, proposed, longest_wait }) => {
            let wait = longest_wait.map_or(String::new(), |wait| {
                format!(" The last of them would have waited {:.1} s for accept().", wait.as_secs_f64())
            });
            let summary = format!(
                "{refused} came while the accept queue{} was full. A backlog of {smallest} would have been enough.{wait}",
                limit(evidence)
            );
            (summary, backlog_knobs(evidence, *proposed))
        }
        Some(Remedy::Faster { .. }) | None => {
            (format!("{refused} came while the accept queue{} was full.", limit(evidence)), Vec::new())
        }
    };
    Some(Finding {
        impact: Impact::Delayed,
        affected: not_reset(evidence),
        confidence: evidence.counterfactual.as_ref().map_or(Confidence::Low, |answer| answer.confidence),
        summary,
        clients_see: clients_see(evidence),
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
    let asked = evidence.listen_argument.map_or(String::new(), |asked| format!(" and asked for {asked}"));
    Some(Finding {
        confidence: Confidence::High,
        summary: format!(
            "net.core.somaxconn is {somaxconn} now, but {} began to listen when it was {backlog}{asked}: {backlog} is still in force. \
             {}",
            who(evidence),
            base.summary
        ),
        knobs: vec![Knob {
            name: "backlog in force".to_owned(),
            set_by: software(evidence)
                .map_or("a restart of the program: listen() again", |known| known.backlog_set_by)
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
    Some(Finding {
        impact: if stalled { Impact::NeverServed } else { Impact::Delayed },
        affected: not_reset(evidence),
        confidence: if group.accepts_known { Confidence::High } else { Confidence::Medium },
        summary: format!(
            "one of {} sockets on this port dropped {drops} packets of {}, while {} of the others are well: {} does not keep up with \
             this one's share.",
            group.others + 1,
            number(evidence.refused(), "client"),
            group.well,
            who(evidence),
        ),
        clients_see: clients_see(evidence),
        facts: [
            facts(evidence),
            vec![
                count("group_members", u64::from(group.others) + 1, "sockets"),
                count("others_that_are_well", u64::from(group.well), "sockets"),
                count("drops_of_the_others", group.drops, "packets"),
            ],
        ]
        .concat(),
        advice: Vec::new(),
        knobs: Vec::new(),
    })
}

/// Returns the settings for a backlog of `proposed`: of listen(), and of somaxconn if it is lower.
fn backlog_knobs(evidence: &Evidence, proposed: u32) -> Vec<Knob> {
    let known = software(evidence);
    let listen = Knob {
        name: known.map_or("the backlog argument of listen()".to_owned(), |known| {
            format!("the listen backlog of {}", known.names[0])
        }),
        set_by: known
            .map_or("the program's own setting; it must listen again", |known| known.backlog_set_by)
            .to_owned(),
        current: evidence.listen_argument.or(evidence.backlog).map(|backlog| backlog.to_string()),
        proposed: proposed.to_string(),
    };
    let enough_asked = evidence.listen_argument.is_some_and(|asked| asked >= proposed);
    let somaxconn = evidence.settings.somaxconn;
    let allowed = somaxconn.is_some_and(|most| most >= proposed);
    let sysctl = Knob {
        name: "net.core.somaxconn".to_owned(),
        set_by: "sysctl in the network namespace of the listener, which must then listen again".to_owned(),
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
            "{default} is what {} asks for unless told otherwise: {}",
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

pub(super) fn who(evidence: &Evidence) -> String {
    match &evidence.owner {
        Some(owner) => format!("{} (pid {})", owner.name, owner.pid),
        None => "the process".to_owned(),
    }
}

fn limit(evidence: &Evidence) -> String {
    evidence.backlog.map_or(String::new(), |backlog| {
        let set = match evidence.bound_by {
            Some(Bound::ListenArgument) => " by its listen() call",
            Some(Bound::Somaxconn) => " by net.core.somaxconn",
            Some(Bound::EarlierSomaxconn) => " by net.core.somaxconn as it was",
            None => "",
        };
        format!(" (limited to {backlog}{set})")
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

/// Describes the symptoms of a full accept queue, by the stages at which it dropped.
pub(super) fn clients_see(evidence: &Evidence) -> String {
    let mut seen = Vec::new();
    if evidence.drops(DropKind::AcceptQueueFullSyn) > 0 {
        seen.push(
            "dropped at the SYN, which is never answered with a reset, whatever tcp_abort_on_overflow says: connecting takes 1 s, 3 s, \
             7 s .. longer, or times out",
        );
    }
    if evidence.drops(DropKind::AcceptQueueFullAck) > 0 {
        seen.push(match evidence.settings.abort_on_overflow {
            Some(0) => {
                "dropped at the final ACK: they believe they are connected, and wait until there is room or the listener gives up"
            }
            Some(_) => "dropped at the final ACK with tcp_abort_on_overflow=1: connected, then reset at once",
            None => {
                "dropped at the final ACK: they believe they are connected, and wait (or are reset at once, if tcp_abort_on_overflow is 1)"
            }
        });
    }
    if evidence.drops(DropKind::AcceptQueueFullCookieAck) > 0 {
        seen.push("dropped at a cookie's ACK: they believe they are connected, and nobody knows them");
    }
    seen.join("; ")
}
