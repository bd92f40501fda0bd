//! Resets that the application itself requested, or that lack of memory or other reasons caused.

use super::super::{Confidence, Evidence, Finding, Impact, Need, Rule};
use super::{accept_queue::who, count, number, resets::serves};
use crate::ResetCause;

pub(super) const UNREAD_DATA: Rule = Rule {
    id: "unread_data",
    title: "the application closes connections with received data unread: the kernel resets them",
    needs: &[Need::Owner, Need::Peers],
    evaluate: unread_data,
    causes: &[],
    advice: &[
        "read what the client sent before close(), or shutdown(SHUT_WR) first and read until end of file",
        "a reset may destroy the answer that is still on its way: a client that gets an error instead of a response is often this",
    ],
    check_next: &[
        "requests refused early (too large, wrong method, over a limit): the answer is sent and the body left unread",
        "TCPAbortOnClose in /proc/net/netstat of that namespace",
    ],
};

pub(super) const LINGER_ZERO: Rule = Rule {
    id: "linger_zero",
    title: "the application resets its connections on purpose (SO_LINGER 0)",
    needs: &[Need::Owner, Need::Peers],
    evaluate: linger_zero,
    causes: &[],
    advice: &[
        "where it is not meant: remove SO_LINGER with time-out 0; data not yet acknowledged is thrown away with it",
    ],
    check_next: &[
        "health checks and load generators do it to avoid TIME_WAIT",
        "TCPAbortOnData in /proc/net/netstat of that namespace",
    ],
};

pub(super) const PEER_GONE: Rule = Rule {
    id: "peer_gone",
    title: "peers vanished: their keep-alive probes went unanswered",
    needs: &[Need::Peers],
    evaluate: peer_gone,
    causes: &[],
    advice: &[
        "look at the way between: a firewall or balancer that drops idle flows, or clients that lost their network",
    ],
    check_next: &["tcp_keepalive_time against the idle time-out of what is between"],
};

pub(super) const OTHER_RESETS: Rule = Rule {
    id: "other_resets",
    title: "connections were reset for a reason without a name of its own",
    needs: &[Need::Owner, Need::Peers],
    evaluate: other_resets,
    causes: &[],
    advice: &["look at the kernel's own reason in the events, which kernels from 6.10 on give"],
    check_next: &[
        "kernel_reason in the events; connect() to AF_UNSPEC, and tools that destroy sockets (ss -K), do this",
    ],
};

pub(super) const OUT_OF_MEMORY: Rule = Rule {
    id: "out_of_memory",
    title: "TCP is out of memory or of orphans: connections are reset",
    needs: &[],
    evaluate: out_of_memory,
    causes: &[],
    advice: &["raise net.ipv4.tcp_mem or tcp_max_orphans, or find what holds so many sockets"],
    check_next: &[
        "TCP: mem and orphan in /proc/net/sockstat against tcp_mem and tcp_max_orphans",
        "dmesg: TCP: out of memory, too many orphaned sockets",
    ],
};

fn unread_data(evidence: &Evidence) -> Option<Finding> {
    let resets = evidence.resets(ResetCause::CloseUnreadData);
    (resets > 0 && serves(evidence)).then(|| Finding {
        impact: Impact::Reset,
        affected: resets,
        confidence: Confidence::High,
        summary: format!(
            "{} closed {} with data in it that it had not read.",
            who(evidence),
            number(resets, "connection")
        ),
        clients_see: "\"connection reset by peer\", sometimes before they could read the answer".to_owned(),
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
            "{} closed {} with SO_LINGER and time-out 0.",
            who(evidence),
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
        summary: format!("{} ended after keep-alive probes went unanswered.", number(resets, "connection")),
        clients_see: "nothing, if they are gone; a reset, if only the way was".to_owned(),
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
            "{} got a reset, and this kernel or netqueue does not tell why.",
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
        summary: format!("{} got a reset for want of memory or orphan slots.", number(resets, "connection")),
        clients_see: "\"connection reset by peer\"".to_owned(),
        facts: vec![count("resets", resets, "connections")],
        advice: Vec::new(),
        knobs: Vec::new(),
    })
}
