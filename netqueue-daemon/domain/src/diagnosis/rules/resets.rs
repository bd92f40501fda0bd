//! Resets that no queue caused: closed listeners and ports, keep-alive race, unknown connections.

use super::super::{Confidence, Evidence, Fact, Finding, Idle, Impact, Knob, Need, Rule, Subject, software};
use super::{
    count,
    elsewhere::with_neighbours,
    fact,
    words::{choose, number, range, who, who_first},
};
use crate::{AccountKey, IdleLimit, ResetCause};

pub(super) const LISTENER_CLOSED: Rule = Rule {
    id: "listener_closed",
    title: "listener closed while connections waited in its accept queue: they were reset",
    needs: &[Need::Owner, Need::Peers],
    evaluate: listener_closed,
    causes: &[],
    advice: &[
        "Close a listener only when its accept queue is empty: stop new clients first, accept until EAGAIN, then close.",
        "Or hand the socket over to the next process (systemd socket activation, SCM_RIGHTS): then no connection is reset.",
    ],
    check_next: &[
        "Check when the process was restarted or reloaded.",
        "Check the accept queue before that: each restart loses the connections that wait in it.",
    ],
};

pub(super) const KEEPALIVE_RACE: Rule = Rule {
    id: "keepalive_race",
    title: "keep-alive race: clients sent on connections that the server had just closed",
    needs: &[Need::IdleLimit, Need::Owner, Need::Peers],
    evaluate: keepalive_race,
    causes: &[],
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

pub(super) const CLOSED_PORT: Rule = Rule {
    id: "closed_port",
    title: "connections to a closed port",
    needs: &[Need::Peers],
    evaluate: closed_port,
    causes: &[],
    advice: &[
        "If a service should listen there, it is down, bound to another address, or in another network namespace.",
        "If not, inform the owners of the clients, or ignore it: a scan needs no action.",
    ],
    check_next: &[
        "Identify the clients: the peers in the evidence and in the events.",
        "Run ss -lnt in that network namespace: it shows what listens, and on which address.",
    ],
};

pub(super) const UNKNOWN_CONNECTION: Rule = Rule {
    id: "unknown_connection",
    title: "packets of unknown connections were answered with a reset",
    needs: &[Need::Peers],
    evaluate: unknown_connection,
    causes: &[],
    advice: &[
        "After a restart or a failover this is normal: clients still send on connections to the previous process or host.",
        "Otherwise look for a load balancer or NAT that lost or moved the flow, and for a keep-alive race, which looks the same once \
         TIME_WAIT or FIN_WAIT2 is over.",
    ],
    check_next: &[
        "Check whether the peers in the events are one load balancer or many clients.",
        "Check when the process or the address began to serve.",
    ],
};

fn listener_closed(evidence: &Evidence) -> Option<Finding> {
    let resets = evidence.resets(ResetCause::ListenerClosed);
    if resets == 0 {
        return None;
    }
    Some(Finding {
        impact: Impact::Reset,
        affected: resets,
        confidence: Confidence::High,
        summary: format!(
            "{} closed its listener while {} waited for accept(); the kernel reset {}.",
            who_first(evidence),
            number(resets, "connection"),
            choose(resets, "it", "them")
        ),
        clients_see: "connect() succeeds, then \"connection reset by peer\"".to_owned(),
        facts: vec![count("connections_reset", resets, "clients")],
        advice: Vec::new(),
        knobs: match evidence.settings.migrate_req {
            Some(0) => vec![Knob {
                name: "net.ipv4.tcp_migrate_req".to_owned(),
                set_by: "sysctl in the network namespace of the listener; helps if its SO_REUSEPORT group has another member".to_owned(),
                current: Some("0".to_owned()),
                proposed: "1".to_owned(),
            }],
            Some(_) | None => Vec::new(),
        },
    })
}

fn keepalive_race(evidence: &Evidence) -> Option<Finding> {
    let raced = evidence.resets(ResetCause::AfterClose);
    // On a port that connections leave from, this host was the client and closed first: nobody is harmed.
    if raced == 0 || !serves(evidence) {
        return None;
    }
    let late = evidence.resets(ResetCause::UnknownConnection);
    let known = evidence.software().and_then(software::of);
    let idle = evidence.idle_limit.map(idle_words);
    let closes = idle.as_ref().map_or("", |idle| &idle.closes);
    let client = Knob {
        name: "the client's idle time-out".to_owned(),
        set_by: "the client's connection pool".to_owned(),
        current: None,
        proposed: idle
            .as_ref()
            .map_or("below the server's".to_owned(), |idle| format!("below {} s", idle.least)),
    };
    let server = known.map(|known| Knob {
        name: format!("the idle time-out of {}", known.names[0]),
        set_by: known.idle_set_by.to_owned(),
        current: idle.as_ref().map(|idle| format!("{} s", idle.least)),
        proposed: "above that of the clients, if theirs cannot be changed".to_owned(),
    });
    Some(Finding {
        impact: Impact::Reset,
        affected: raced + late,
        confidence: Confidence::High,
        summary: format!(
            "{} from {} reached {} after it had closed the {}.{closes}",
            number(raced + late, "packet"),
            choose(raced + late, "a client", "clients"),
            who(evidence),
            choose(raced + late, "connection", "connections")
        ),
        clients_see: "\"connection reset by peer\" or end of file on the first request after a pause"
            .to_owned(),
        facts: [
            vec![
                count("resets_after_close", raced, "resets"),
                count("resets_of_unknown_connections", late, "resets"),
            ],
            evidence.idle_limit.map_or(Vec::new(), idle_facts),
        ]
        .concat(),
        advice: Vec::new(),
        knobs: [client].into_iter().chain(server).collect(),
    })
}

/// Idle time-out of a server in words.
struct IdleWords {
    /// Sentence about when the server closes connections.
    closes: String,
    /// Seconds for which a connection may certainly be idle.
    least: String,
}

fn idle_words(idle: Idle) -> IdleWords {
    match idle {
        Idle::Seen(IdleLimit { least, most, connections }) => IdleWords {
            closes: format!(
                " It closes connections that have been idle for {} (seen on {}).",
                range(least, most),
                number(connections.into(), "connection")
            ),
            least: format!("{:.1}", least.as_secs_f64()),
        },
        Idle::Default(after) => IdleWords {
            closes: format!(
                " By default it closes connections that have been idle for {:.0} s.",
                after.as_secs_f64()
            ),
            least: format!("{:.0}", after.as_secs_f64()),
        },
    }
}

fn idle_facts(idle: Idle) -> Vec<Fact> {
    match idle {
        Idle::Seen(IdleLimit { least, most, connections }) => vec![
            fact("server_idle_limit_at_least", least.as_secs_f64(), "s"),
            fact("server_idle_limit_at_most", most.as_secs_f64(), "s"),
            count("idle_connections_it_closed", connections.into(), "connections"),
        ],
        Idle::Default(after) => vec![fact("server_idle_limit_by_default", after.as_secs_f64(), "s")],
    }
}

fn closed_port(evidence: &Evidence) -> Option<Finding> {
    let resets = evidence.resets(ResetCause::NoListener);
    if resets == 0 || !serves(evidence) {
        return None;
    }
    let clients = match evidence.peers.as_slice() {
        [] => String::new(),
        [(one, _)] => format!(" from {one}"),
        [(most, times), others @ ..] => {
            format!(" from {} addresses ({most} has the most events: {times})", others.len() + 1)
        }
    };
    let ports = match (evidence.port(), evidence.ports) {
        (Some(port), _) => format!("port {port}, where"),
        (None, 0 | 1) => "a port on which".to_owned(),
        (None, ports) => format!("{ports} ports on which"),
    };
    Some(Finding {
        impact: Impact::Reset,
        affected: resets,
        confidence: Confidence::High,
        summary: with_neighbours(
            format!(
                "{}{clients} reached {ports} nothing listens; {} answered with a reset.",
                number(resets, "packet"),
                choose(resets, "it was", "each was")
            ),
            evidence,
        ),
        clients_see: "\"connection refused\"".to_owned(),
        facts: vec![
            count("resets", resets, "resets"),
            count("ports", evidence.ports, "ports"),
            count("addresses", evidence.peers.len() as u64, "peers"),
        ],
        advice: Vec::new(),
        knobs: Vec::new(),
    })
}

fn unknown_connection(evidence: &Evidence) -> Option<Finding> {
    let resets = evidence.resets(ResetCause::UnknownConnection);
    if resets == 0 || keepalive_race(evidence).is_some() {
        return None;
    }
    Some(Finding {
        impact: Impact::Reset,
        affected: resets,
        confidence: Confidence::Medium,
        summary: format!(
            "{} reached the listener but belonged to no connection that this host has state for; {} answered with a reset.",
            number(resets, "packet"),
            choose(resets, "it was", "each was")
        ),
        clients_see: "\"connection reset by peer\" on a connection that seemed open".to_owned(),
        facts: vec![
            count("resets", resets, "resets"),
            count("addresses", evidence.peers.len() as u64, "peers"),
        ],
        advice: Vec::new(),
        knobs: Vec::new(),
    })
}

/// Returns whether clients connect to the subject, unlike to the ports that connections leave from.
pub(super) const fn serves(evidence: &Evidence) -> bool {
    match evidence.subject {
        Subject::Account(_, AccountKey::Listener { .. } | AccountKey::Endpoint(_))
        | Subject::Namespace(_) => true,
        Subject::Account(_, AccountKey::Ephemeral { .. } | AccountKey::Other(_) | AccountKey::Gone(_))
        | Subject::Netqueue => false,
    }
}
