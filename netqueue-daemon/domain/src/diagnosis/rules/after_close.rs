//! Packets on connections that this side had closed or reset.

use super::super::{Confidence, Evidence, Finding, Impact, Knob, Need, Rule, software};
use super::{
    count, fact,
    place::serves,
    words::{choose, number, range, who},
};
use crate::{IdleLimit, ResetCause};

pub(super) const KEEPALIVE_RACE: Rule = Rule {
    id: "keepalive_race",
    title: "keep-alive race: clients sent on connections that the server had just closed",
    needs: &[Need::Owner, Need::Peers],
    evaluate: keepalive_race,
    consequence_of: None,
    advice: &[
        "Let the client close idle connections before the server does: set its idle time-out (idleConnTimeout, keepAliveTimeout, \
         maxIdleTime ..) some seconds below the server's.",
        "Let the client retry an idempotent request that failed on a reused connection.",
        "This is not a queue problem: no backlog, no somaxconn and no tcp_* queue setting changes it.",
    ],
    check_next: &[
        "Read the server's idle time-out and its maximum of requests per connection (keepalive_requests): both close connections.",
        "Read for how long the client's pool keeps idle connections.",
    ],
};

pub(super) const AFTER_CLOSE: Rule = Rule {
    id: "after_close",
    title: "clients sent on connections that the server had closed",
    needs: &[Need::Owner, Need::Peers],
    evaluate: after_close,
    consequence_of: None,
    advice: &[
        "If the server closes idle connections, let its clients close them sooner: their idle time-out below the server's.",
        "If it answers early and closes (401, 413, a limit of connections or of requests per connection), let it read the request first.",
        "If it was reloaded or a worker of it ended, let the old worker finish its connections before it exits.",
        "This is not a queue problem: no backlog, no somaxconn and no tcp_* queue setting changes it.",
    ],
    check_next: &[
        "Read the server's log at the times of the events: a reload, an exit, an error response, an idle time-out.",
        "Check at the clients for how long the connection had been idle when the request failed.",
    ],
};

pub(super) const PEER_CLOSING: Rule = Rule {
    id: "peer_closing",
    title: "peers closed connections that this side closed too",
    needs: &[Need::Peers],
    evaluate: peer_closing,
    consequence_of: None,
    advice: &["Nothing needs to be done: both sides wanted to end these connections."],
    check_next: &[
        "If the number is surprising, read the peers in the events: proxies and pools close many connections at once.",
    ],
};

pub(super) const RESET_AGAIN: Rule = Rule {
    id: "reset_again",
    title: "more packets on connections that had been reset already",
    needs: &[Need::Peers],
    evaluate: reset_again,
    consequence_of: None,
    advice: &["Nothing needs to be done for these resets: the first reset of each connection has the cause."],
    check_next: &["Read the other verdicts and the earlier events of the same address and port."],
};

/// Returns whether packets of unknown connections are already told with those of closed connections.
pub(super) fn is_told(evidence: &Evidence) -> bool {
    raced(evidence).is_some()
}

/// Returns the resets after a close, with those of connections that were closed long before.
/// On a port that connections leave from, this host was the client and closed first: nobody is harmed.
fn raced(evidence: &Evidence) -> Option<(u64, u64)> {
    let raced = evidence.resets_while_serving(ResetCause::AfterClose);
    (raced > 0 && serves(evidence)).then(|| (raced, evidence.resets(ResetCause::UnknownConnection)))
}

fn keepalive_race(evidence: &Evidence) -> Option<Finding> {
    let (raced, late) = raced(evidence)?;
    let IdleLimit { least, most, connections } = evidence.idle_limit?;
    let below = format!("{:.1} s", least.as_secs_f64());
    let client = Knob {
        name: "the client's idle time-out".to_owned(),
        set_by: "the client's connection pool".to_owned(),
        current: None,
        proposed: format!("below {below}"),
    };
    let server = evidence.software().and_then(software::of).map(|known| Knob {
        name: format!("the idle time-out of {}", known.names[0]),
        set_by: known.idle_set_by.to_owned(),
        current: Some(below.clone()),
        proposed: "above that of the clients, if theirs cannot be changed".to_owned(),
    });
    Some(Finding {
        confidence: Confidence::High,
        summary: format!(
            "{} It closes connections that have been idle for {} (seen on {}).",
            summary(evidence, raced + late),
            range(least, most),
            number(connections.into(), "connection")
        ),
        clients_see: "\"connection reset by peer\" or end of file on the first request after a pause"
            .to_owned(),
        facts: vec![
            count("resets_after_close", raced, "resets"),
            count("resets_of_unknown_connections", late, "resets"),
            fact("server_idle_limit_at_least", least.as_secs_f64(), "s"),
            fact("server_idle_limit_at_most", most.as_secs_f64(), "s"),
            count("idle_connections_it_closed", connections.into(), "connections"),
        ],
        knobs: [client].into_iter().chain(server).collect(),
        ..finding(evidence, raced, late)
    })
}

fn after_close(evidence: &Evidence) -> Option<Finding> {
    let (raced, late) = raced(evidence)?;
    evidence.idle_limit.is_none().then(|| finding(evidence, raced, late))
}

fn finding(evidence: &Evidence, raced: u64, late: u64) -> Finding {
    Finding {
        impact: Impact::Reset,
        affected: evidence.reset_clients(ResetCause::AfterClose, raced)
            + evidence.reset_clients(ResetCause::UnknownConnection, late),
        confidence: Confidence::Medium,
        summary: summary(evidence, raced + late),
        clients_see: "\"connection reset by peer\" or end of file".to_owned(),
        facts: vec![
            count("resets_after_close", raced, "resets"),
            count("resets_of_unknown_connections", late, "resets"),
        ],
        advice: Vec::new(),
        knobs: Vec::new(),
    }
}

fn summary(evidence: &Evidence, packets: u64) -> String {
    format!(
        "{} from {} reached {} after it had closed the {}.",
        number(packets, "packet"),
        choose(packets, "a client", "clients"),
        who(evidence),
        choose(packets, "connection", "connections")
    )
}

fn peer_closing(evidence: &Evidence) -> Option<Finding> {
    let closing = evidence.resets(ResetCause::PeerClosing);
    (closing > 0).then(|| Finding {
        summary: format!(
            "{} closed {} here too: {} last packet was a FIN or a TLS close_notify, without other data.",
            number(closing, "peer"),
            choose(closing, "a connection that was being closed", "connections that were being closed"),
            choose(closing, "its", "their")
        ),
        clients_see: "nothing: they had closed the connection themselves".to_owned(),
        ..harmless("resets_of_closing_peers", closing)
    })
}

fn reset_again(evidence: &Evidence) -> Option<Finding> {
    let again = evidence.resets(ResetCause::Again);
    (again > 0).then(|| Finding {
        summary: format!(
            "{} arrived on {} that had been reset less than a minute before; {} answered with a reset.",
            number(again, "more packet"),
            choose(again, "a connection", "connections"),
            choose(again, "it was", "each was")
        ),
        clients_see: "nothing new: the first reset ended the connection".to_owned(),
        ..harmless("resets_again", again)
    })
}

/// Builds the parts that findings on harmless resets share.
fn harmless(fact: &'static str, resets: u64) -> Finding {
    Finding {
        impact: Impact::Absorbed,
        affected: 0,
        confidence: Confidence::High,
        summary: String::new(),
        clients_see: String::new(),
        facts: vec![count(fact, resets, "resets")],
        advice: Vec::new(),
        knobs: Vec::new(),
    }
}
