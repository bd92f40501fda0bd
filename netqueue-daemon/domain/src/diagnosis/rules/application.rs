//! Resets that the application itself requested, or that lack of memory or other reasons caused.

use super::super::{Confidence, Evidence, Finding, Impact, Need, Rule};
use super::{
    count,
    place::serves,
    words::{choose, number, who_first},
};
use crate::ResetCause;

pub(super) const UNREAD_DATA: Rule = Rule {
    id: "unread_data",
    title: "the application closes connections that still hold unread data: the kernel resets them",
    needs: &[Need::Owner, Need::Peers],
    evaluate: unread_data,
    consequence_of: None,
    advice: &[
        "Read what the client sent before close(), or call shutdown(SHUT_WR) first and read until end of file.",
        "A reset may destroy a response that is still on its way: this is often why a client gets an error instead of a response.",
    ],
    check_next: &[
        "Look for requests that the server rejects early (too large, wrong method, over a limit): it sends the response and leaves \
         the body unread.",
        "Read TCPAbortOnClose in /proc/net/netstat of that network namespace.",
    ],
};

pub(super) const LINGER_ZERO: Rule = Rule {
    id: "linger_zero",
    title: "the application resets its connections on purpose (SO_LINGER with time-out 0)",
    needs: &[Need::Owner, Need::Peers],
    evaluate: linger_zero,
    consequence_of: None,
    advice: &[
        "If this is not intended, remove SO_LINGER with time-out 0: it also discards data that is not yet acknowledged.",
    ],
    check_next: &[
        "Check whether a health check or a load generator is involved: they do this to avoid TIME_WAIT.",
        "Read TCPAbortOnData in /proc/net/netstat of that network namespace.",
    ],
};

pub(super) const PEER_GONE: Rule = Rule {
    id: "peer_gone",
    title: "peers vanished: they did not answer keep-alive probes",
    needs: &[Need::Peers],
    evaluate: peer_gone,
    consequence_of: None,
    advice: &[
        "Check the network path: a firewall or load balancer that drops idle flows, or clients that lost their network.",
    ],
    check_next: &[
        "Compare tcp_keepalive_time with the idle time-outs of the firewalls and load balancers on the path.",
    ],
};

pub(super) const OTHER_RESETS: Rule = Rule {
    id: "other_resets",
    title: "connections were reset for a reason that netqueue does not classify",
    needs: &[Need::Owner, Need::Peers],
    evaluate: other_resets,
    consequence_of: None,
    advice: &["Read the kernel's own reason in the events (kernel 6.10 or later)."],
    check_next: &[
        "Look at kernel_reason in the events: connect() to AF_UNSPEC and tools that destroy sockets (ss -K) cause such resets.",
    ],
};

pub(super) const OUT_OF_MEMORY: Rule = Rule {
    id: "out_of_memory",
    title: "TCP ran out of memory or of orphan slots: connections were reset",
    needs: &[],
    evaluate: out_of_memory,
    consequence_of: None,
    advice: &["Raise net.ipv4.tcp_mem or net.ipv4.tcp_max_orphans, or find out what holds so many sockets."],
    check_next: &[
        "Compare mem and orphan (line TCP of /proc/net/sockstat) with tcp_mem and tcp_max_orphans.",
        "Search dmesg for \"TCP: out of memory\" and \"too many orphaned sockets\".",
    ],
};

fn unread_data(evidence: &Evidence) -> Option<Finding> {
    let resets = evidence.resets_while_serving(ResetCause::CloseUnreadData);
    (resets > 0 && serves(evidence)).then(|| Finding {
        impact: Impact::Reset,
        affected: resets,
        confidence: Confidence::High,
        summary: format!(
            "{} closed {} while {} still held unread data.",
            who_first(evidence),
            number(resets, "connection"),
            choose(resets, "it", "they")
        ),
        clients_see: "\"connection reset by peer\", sometimes before they have read the response".to_owned(),
        facts: vec![count("resets", resets, "clients")],
        advice: Vec::new(),
        knobs: Vec::new(),
    })
}

fn linger_zero(evidence: &Evidence) -> Option<Finding> {
    let resets = evidence.resets(ResetCause::LingerZero);
    (resets > 0 && serves(evidence)).then(|| Finding {
        impact: Impact::Reset,
        affected: resets,
        confidence: Confidence::High,
        summary: format!(
            "{} closed {} with SO_LINGER and a time-out of 0.",
            who_first(evidence),
            number(resets, "connection")
        ),
        clients_see: "\"connection reset by peer\"".to_owned(),
        facts: vec![count("resets", resets, "clients")],
        advice: Vec::new(),
        knobs: Vec::new(),
    })
}

fn peer_gone(evidence: &Evidence) -> Option<Finding> {
    let resets = evidence.resets(ResetCause::KeepaliveTimeout);
    (resets > 0).then(|| Finding {
        impact: Impact::Reset,
        affected: resets,
        confidence: Confidence::High,
        summary: format!(
            "The kernel ended {} because the {} did not answer keep-alive probes.",
            number(resets, "connection"),
            choose(resets, "peer", "peers")
        ),
        clients_see: "nothing if they are gone; a reset if only the network path was broken".to_owned(),
        facts: vec![count("resets", resets, "connections")],
        advice: Vec::new(),
        knobs: Vec::new(),
    })
}

fn other_resets(evidence: &Evidence) -> Option<Finding> {
    let resets = evidence.resets(ResetCause::Other);
    (resets > 0 && serves(evidence)).then(|| Finding {
        impact: Impact::Reset,
        affected: resets,
        confidence: Confidence::Low,
        summary: format!(
            "The kernel reset {} for a reason that it does not report or that netqueue does not classify.",
            number(resets, "connection")
        ),
        clients_see: "\"connection reset by peer\"".to_owned(),
        facts: vec![count("resets", resets, "connections")],
        advice: Vec::new(),
        knobs: Vec::new(),
    })
}

fn out_of_memory(evidence: &Evidence) -> Option<Finding> {
    let resets = evidence.resets(ResetCause::OutOfMemory);
    (resets > 0).then(|| Finding {
        impact: Impact::Reset,
        affected: resets,
        confidence: Confidence::High,
        summary: format!(
            "The kernel reset {} because TCP had run out of memory or of orphan slots.",
            number(resets, "connection")
        ),
        clients_see: "\"connection reset by peer\"".to_owned(),
        facts: vec![count("resets", resets, "connections")],
        advice: Vec::new(),
        knobs: Vec::new(),
    })
}
