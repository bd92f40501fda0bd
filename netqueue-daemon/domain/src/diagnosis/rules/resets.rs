//! Resets that no queue caused: closed listeners and ports, unknown connections.

use super::super::closed_ports::tries;
use super::super::{Confidence, Evidence, Finding, Impact, Knob, Need, Rule, Subject};
use super::{
    after_close, count,
    elsewhere::with_neighbours,
    place::serves,
    words::{choose, number, who_first},
};
use crate::{AccountKey, ResetCause};

pub(super) const LISTENER_CLOSED: Rule = Rule {
    id: "listener_closed",
    title: "listener closed while connections waited in its accept queue: they were reset",
    needs: &[Need::Owner, Need::Peers],
    evaluate: listener_closed,
    consequence_of: None,
    advice: &[
        "Close a listener only when its accept queue is empty: stop new clients first, accept until EAGAIN, then close.",
        "Or hand the socket over to the next process (systemd socket activation, SCM_RIGHTS): then no connection is reset.",
    ],
    check_next: &[
        "Check when the process was restarted or reloaded.",
        "Check the accept queue before that: each restart loses the connections that wait in it.",
    ],
};

pub(super) const CLOSED_PORT: Rule = Rule {
    id: "closed_port",
    title: "connections to a closed port",
    needs: &[Need::Peers],
    evaluate: closed_port,
    consequence_of: None,
    advice: &[
        "If a service should listen there, it is down, bound to another address, or in another network namespace.",
        "If not, inform the owners of the clients, or ignore it: a scan needs no action.",
    ],
    check_next: &[
        "Identify the clients: the peers in the evidence and in the events.",
        "Run ss -lnt in that network namespace: it shows what listens, and on which address.",
    ],
};

pub(super) const NO_CONNECTION: Rule = Rule {
    id: "no_connection",
    title: "segments of connections that do not exist here",
    needs: &[Need::Peers],
    evaluate: no_connection,
    consequence_of: None,
    advice: &[
        "This is not a refused connect: nobody asked for a connection. No queue and no backlog setting changes it.",
    ],
    check_next: &[
        "Identify the senders: the peers in the evidence and in the events. One balancer, one server, or many clients?",
        "Check whether a process on that port ended, or an address moved to or from this host, shortly before.",
    ],
};

pub(super) const UNKNOWN_CONNECTION: Rule = Rule {
    id: "unknown_connection",
    title: "packets of unknown connections were answered with a reset",
    needs: &[Need::Peers],
    evaluate: unknown_connection,
    consequence_of: None,
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
            Some(0) if evidence.shares_port => vec![Knob {
                name: "net.ipv4.tcp_migrate_req".to_owned(),
                set_by: "sysctl in the network namespace of the listener: waiting connections move to another member of its SO_REUSEPORT \
                         group"
                    .to_owned(),
                current: Some("0".to_owned()),
                proposed: "1".to_owned(),
            }],
            Some(_) | None => Vec::new(),
        },
    })
}

fn closed_port(evidence: &Evidence) -> Option<Finding> {
    let resets = evidence.resets_while_serving(ResetCause::NoListener);
    if resets == 0 || !serves(evidence) {
        return None;
    }
    let scan = is_scan(evidence, resets);
    let ports = match (evidence.port(), evidence.ports) {
        (Some(port), _) => format!("port {port}, where"),
        (None, 0 | 1) => "a port on which".to_owned(),
        (None, ports) => format!("{ports} ports on which"),
    };
    Some(Finding {
        impact: if scan { Impact::Absorbed } else { Impact::Reset },
        affected: if scan { 0 } else { resets },
        confidence: Confidence::High,
        summary: with_neighbours(
            format!(
                "{}{} reached {ports} nothing listens; {} answered with a reset.{}",
                number(resets, "SYN"),
                senders(evidence, ResetCause::NoListener),
                choose(resets, "it was", "each was"),
                if scan {
                    " So few to each port, one after the other, are a scan, which harms nobody."
                } else {
                    ""
                }
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

/// Returns whether few senders tried many ports, each of them a few times only.
/// A client that cannot reach its service tries the same port again and again.
fn is_scan(evidence: &Evidence, resets: u64) -> bool {
    const SENDERS: usize = 3;
    let senders = evidence.peers.len();
    let most = tries(evidence.ports as usize) * evidence.ports;
    resets <= most && (1..=SENDERS).contains(&senders)
}

/// Names the senders of the packets that were reset for this cause: ` from 192.0.2.1`.
/// Events do not tell senders apart by cause, so of an account with other charges none is named.
fn senders(evidence: &Evidence, cause: ResetCause) -> String {
    let counts = &evidence.counts;
    if evidence.resets(cause) != counts.reset_total() + counts.drop_total() {
        return String::new();
    }
    match evidence.peers.as_slice() {
        [] => String::new(),
        [(one, _)] => format!(" from {one}"),
        [(most, times), others @ ..] => {
            format!(" from {} addresses ({most} has the most events: {times})", others.len() + 1)
        }
    }
}

fn no_connection(evidence: &Evidence) -> Option<Finding> {
    let resets = evidence.resets_while_serving(ResetCause::NoConnection);
    let at_client = matches!(evidence.subject, Subject::Account(_, AccountKey::Ephemeral { .. }));
    if resets == 0 || !(at_client || serves(evidence)) {
        return None;
    }
    let place = match (evidence.port(), evidence.ports) {
        (Some(port), _) => format!("port {port}, where nothing listens,"),
        (None, ports) if ports > 1 => format!("{ports} ports on which nothing listens"),
        (None, _) if at_client => {
            choose(resets, "a client port of this host", "client ports of this host").to_owned()
        }
        (None, _) => "a port on which nothing listens".to_owned(),
    };
    let advice = if at_client {
        [
            "Behind DNAT (Kubernetes services), conntrack calls some segments INVALID and does not translate them back: drop INVALID \
             packets in the firewall, or set net.netfilter.nf_conntrack_tcp_be_liberal=1.",
            "Else look for an asymmetric path, or for a server that still sends on connections that this host closed long ago.",
        ]
    } else {
        [
            "If a process on that port ended, its clients still send: drain connections before a stop. They reconnect by themselves.",
            "If none ever listened there, a load balancer, IPVS or NAT sends packets of existing connections here, or has forgotten \
             where they belong.",
        ]
    };
    Some(Finding {
        impact: Impact::Reset,
        affected: evidence.reset_clients(ResetCause::NoConnection, resets),
        confidence: Confidence::Medium,
        summary: format!(
            "{} (no SYN){} reached {place} but {} to no connection; {} answered with a reset.",
            number(resets, "segment"),
            senders(evidence, ResetCause::NoConnection),
            choose(resets, "belongs", "belong"),
            choose(resets, "it was", "each was")
        ),
        clients_see: "\"connection reset by peer\" on a connection that seemed open".to_owned(),
        facts: vec![
            count("resets", resets, "resets"),
            count("ports", evidence.ports, "ports"),
            count("addresses", evidence.peers.len() as u64, "peers"),
        ],
        advice: advice.map(str::to_owned).into(),
        knobs: Vec::new(),
    })
}

fn unknown_connection(evidence: &Evidence) -> Option<Finding> {
    let resets =
        evidence.resets(ResetCause::UnknownConnection).saturating_sub(evidence.resets_of_ended_connections);
    if resets == 0 || after_close::is_told(evidence) {
        return None;
    }
    Some(Finding {
        impact: Impact::Reset,
        affected: evidence.reset_clients(ResetCause::UnknownConnection, resets),
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
