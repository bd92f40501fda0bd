//! Resets that the application itself requested, or that lack of memory or other reasons caused.

use super::super::{Confidence, Evidence, Fact, Finding, Impact, Knob, Need, Rule};
use super::{
    count,
    place::serves,
    words::{choose, number, who_first},
};
use crate::{ResetCause, TcpLimit, TcpMemory};

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
    title: "a limit of TCP on this machine was reached: connections were reset",
    needs: &[],
    evaluate: out_of_memory,
    consequence_of: None,
    advice: &[
        "Find out what holds so many sockets or so much data before you raise a limit: peers that do not answer, or a leak.",
    ],
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
        summary: format!("The kernel reset {} because {}.", number(resets, "connection"), reached(evidence)),
        clients_see: "\"connection reset by peer\"".to_owned(),
        facts: [vec![count("resets", resets, "connections")], memory_facts(evidence)].concat(),
        advice: Vec::new(),
        knobs: memory_knob(evidence).into_iter().collect(),
    })
}

/// Names the limit that was reached.
fn reached(evidence: &Evidence) -> String {
    let used = evidence.tcp_memory.and_then(|used| Some((used, used.reached()?)));
    match used {
        Some((TcpMemory { orphans, max_orphans, .. }, TcpLimit::Orphans)) => format!(
            "there were too many orphans, connections that no process holds any more: {orphans}, and tcp_max_orphans is {max_orphans} \
             (an orphan whose peer does not answer counts up to four times)"
        ),
        Some((TcpMemory { pages, max_pages, .. }, TcpLimit::Pages)) => {
            format!("TCP had used up its memory: {pages} of {max_pages} pages (tcp_mem)")
        }
        None => "there were too many orphans (tcp_max_orphans) or TCP had used up its memory (tcp_mem): which of the two is not known"
            .to_owned(),
    }
}

fn memory_facts(evidence: &Evidence) -> Vec<Fact> {
    evidence.tcp_memory.map_or(Vec::new(), |used| {
        vec![
            count("orphans_peak", used.orphans, "connections"),
            count("tcp_max_orphans", used.max_orphans, "connections"),
            count("tcp_memory_peak", used.pages, "pages"),
            count("tcp_mem_max", used.max_pages, "pages"),
        ]
    })
}

fn memory_knob(evidence: &Evidence) -> Option<Knob> {
    let used = evidence.tcp_memory?;
    let (name, current, proposed) = match used.reached()? {
        TcpLimit::Orphans => (
            "net.ipv4.tcp_max_orphans",
            used.max_orphans,
            format!("more than {}", used.orphans.saturating_mul(4)),
        ),
        TcpLimit::Pages => (
            "net.ipv4.tcp_mem",
            used.max_pages,
            "a higher third value, if the machine has the memory".to_owned(),
        ),
    };
    Some(Knob {
        name: name.to_owned(),
        set_by: "sysctl of the whole machine, in force at once".to_owned(),
        current: Some(current.to_string()),
        proposed,
    })
}
