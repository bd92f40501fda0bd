//! Connections that wait for accept() though none is dropped: the backlog has room, nobody accepts.

use std::time::Duration;

use super::super::{Confidence, Evidence, Finding, Impact, Need, Rule, Stall, Wait};
use super::{
    accept_queue::{overflows, waiting},
    count, fact, owner,
    words::{choose, moment, number, rates, seconds, until, who, who_first},
};

/// Time without accepts after which clients that wait are an incident, though nothing was dropped.
const STALL: Duration = Duration::from_secs(5);

pub(super) const WAITING: Rule = Rule {
    id: "accept_queue_waiting",
    title: "connections wait for accept(), though none is dropped",
    needs: &[Need::Owner],
    evaluate: unaccepted,
    consequence_of: None,
    advice: &["Do not raise the backlog: there is room, and more clients would wait."],
    check_next: &["Read netqueue_accept_queue_length and netqueue_accept_wait_seconds of this listener."],
};

fn unaccepted(evidence: &Evidence) -> Option<Finding> {
    let accepting = &evidence.accepting;
    if let Some(stall) = accepting.stalled.filter(|stall| stall.lasted() >= STALL) {
        let full = overflows(evidence) > 0 && evidence.present_stall().is_some();
        return (!full).then(|| stalled(evidence, stall));
    }
    if let Some(wait) = accepting.waits.filter(|wait| wait.oldest >= Wait::LONG) {
        // While connections are dropped, the rules of the full queue say why.
        return (!evidence.is_dropping()).then(|| slow(evidence, wait));
    }
    if let Some(stall) = accepting.longest_stall.filter(|stall| stall.lasted() >= STALL) {
        let full = overflows(evidence) > 0 && evidence.past_stall().is_some();
        return (!full).then(|| stalled_earlier(evidence, stall));
    }
    let wait = accepting.longest_wait.filter(|wait| wait.oldest >= Wait::LONG)?;
    evidence.dropped.is_none().then(|| slow_earlier(evidence, wait))
}

fn stalled(evidence: &Evidence, stall: Stall) -> Finding {
    let early = stall.lasted() < Evidence::EARLY;
    let doubt = if early { " It is early: this may be a pause." } else { "" };
    Finding {
        impact: Impact::NeverServed,
        confidence: if early { Confidence::Low } else { Confidence::High },
        summary: format!(
            "{} has accepted nothing for {}; {} for accept(). {}{doubt}",
            owner::subject(evidence),
            seconds(stall.lasted()),
            waiting(stall.waiting),
            not_dropped(evidence, stall.waiting),
        ),
        ..finding(evidence, stall.waiting, stall.lasted())
    }
}

fn stalled_earlier(evidence: &Evidence, stall: Stall) -> Finding {
    Finding {
        summary: format!(
            "{} accepted nothing for {}, {}; {}{} waited for accept(){}. {}",
            owner::subject(evidence),
            seconds(stall.lasted()),
            until(evidence, stall.until),
            choose(stall.waiting.into(), "", "up to "),
            number(stall.waiting.into(), "connection"),
            gone_by_then(stall.lasted()),
            not_dropped(evidence, stall.waiting),
        ),
        ..finding(evidence, stall.waiting, stall.lasted())
    }
}

fn slow(evidence: &Evidence, wait: Wait) -> Finding {
    let rates = evidence.accepting.flow.map_or(String::new(), |flow| {
        let per_second = |connections: u64| connections as f64 / flow.span.as_secs_f64();
        let rates = rates(["accepts", "arrive"], per_second(flow.accepted), per_second(flow.entered));
        format!("{} {rates}. ", who_first(evidence))
    });
    Finding {
        summary: owner::led(
            evidence,
            &format!(
                "{rates}{} for accept(), {}for {}. {}",
                waiting(wait.connections),
                choose(wait.connections.into(), "", "the first of them "),
                seconds(wait.oldest),
                not_dropped(evidence, wait.connections),
            ),
        ),
        advice: owner::advice_if_found(evidence),
        ..finding(evidence, wait.connections, wait.oldest)
    }
}

fn slow_earlier(evidence: &Evidence, wait: Wait) -> Finding {
    Finding {
        summary: format!(
            "Connections waited up to {} for {} to accept them: {} did at {}. {}",
            seconds(wait.oldest),
            who(evidence),
            wait.connections,
            moment(evidence, wait.at),
            not_dropped(evidence, wait.connections),
        ),
        ..finding(evidence, wait.connections, wait.oldest)
    }
}

/// Builds the parts that all findings share.
fn finding(evidence: &Evidence, waiting: u32, longest: Duration) -> Finding {
    let backlog = evidence.backlog.map(|backlog| fact("backlog", backlog, "connections"));
    let wait = fact("longest_wait", longest.as_secs_f64(), "s");
    let waiting_for_accept = count("waiting_for_accept", waiting.into(), "connections");
    Finding {
        impact: Impact::Delayed,
        affected: waiting.into(),
        confidence: Confidence::High,
        summary: String::new(),
        clients_see: "a connection that is established but gets no answer, until the client's own time-out"
            .to_owned(),
        facts: [waiting_for_accept, wait].into_iter().chain(backlog).chain(owner::facts(evidence)).collect(),
        advice: owner::advice(evidence),
        knobs: owner::knobs(evidence),
    }
}

/// Says what a long wait means for clients, whose time-outs netqueue cannot see.
fn gone_by_then(waited: Duration) -> &'static str {
    /// Time-out of clients that wait for long; many wait for a second or two.
    const PATIENT: Duration = Duration::from_secs(5);
    if waited < PATIENT {
        ""
    } else {
        ", and clients with a shorter time-out had gone when they were accepted"
    }
}

/// Says that nothing was dropped, and why.
fn not_dropped(evidence: &Evidence, waiting: u32) -> String {
    let nothing = match evidence.dropped {
        None => "Nothing was dropped",
        // By a full SYN queue, of which another verdict tells.
        Some(_) if overflows(evidence) == 0 => "The accept queue dropped nothing",
        Some(_) => "Nothing was dropped meanwhile",
    };
    let is = if evidence.goes_on() { "is" } else { "was" };
    match evidence.backlog {
        Some(backlog) if waiting < backlog / 2 => {
            format!("{nothing}, because its backlog ({backlog}) {is} far from full.")
        }
        Some(backlog) => format!("{nothing}: its backlog is {backlog}."),
        None => format!("{nothing}."),
    }
}
