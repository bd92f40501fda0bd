//! Drops for other reasons than a full accept queue, mostly at the SYN, and floods that harmed nobody.

use super::super::{Confidence, Evidence, Finding, Impact, Knob, Need, Rule};
use super::{
    accept_queue::overflows,
    count, sysctl,
    words::{choose, number},
};
use crate::{DropCause, KernelCounter, QueueState, grouped};

/// Value of tcp_syncookies with which the kernel sends a cookie for every SYN.
const ALWAYS: u32 = 2;

pub(super) const FULL: Rule = Rule {
    id: "syn_queue_full",
    title: "SYN queue full with SYN cookies off: SYNs of new clients are dropped",
    needs: &[Need::Syncookies, Need::Peers, Need::Limit],
    evaluate: full,
    consequence_of: None,
    advice: &[
        "Turn SYN cookies on: with tcp_syncookies=1 a SYN flood costs no client its connection.",
        "The SYN queue of a listener is bounded by its own backlog, min(listen argument, somaxconn); tcp_max_syn_backlog does not \
         enlarge it.",
    ],
    check_next: &[
        "Check whether the SYNs are real: compare the handshakes that complete (connections that entered the accept queue) with the \
         SYNs. Addresses that never answer the SYN-ACK are a flood.",
        "Read the SYN-ACK retransmits of this listener: they were lost on the way, or their receivers wanted no connection.",
    ],
};

pub(super) const LAST_QUARTER: Rule = Rule {
    id: "syn_backlog_reserve",
    title: "last-quarter rule: SYN cookies are off and SYNs of unknown clients are dropped early",
    needs: &[Need::Syncookies, Need::Peers],
    evaluate: last_quarter,
    consequence_of: None,
    advice: &[
        "Turn SYN cookies on: the rule exists only without them.",
        "Or raise tcp_max_syn_backlog: with SYN cookies off, a listener with three quarters of it in its SYN queue takes only \
         clients that the host has seen before.",
    ],
    check_next: &[
        "Read tcp_max_syn_backlog and tcp_syncookies in the listener's own network namespace.",
        "Read the SYN queue length in the events of this listener.",
    ],
};

pub(super) const ABSORBED: Rule = Rule {
    id: "syn_flood_absorbed",
    title: "SYN queue full, absorbed by SYN cookies: nothing was lost",
    needs: &[Need::Peers],
    evaluate: absorbed,
    consequence_of: None,
    advice: &[
        "No action is needed now: every SYN was answered with a cookie. Connections opened that way lose window scaling and SACK \
         if the client sends no timestamps.",
        "If the clients are real (cookies come back), raise the backlog: it also bounds the SYN queue.",
    ],
    check_next: &[
        "Compare the cookies received with the cookies sent: if few came back, the SYNs were a flood.",
        "Check the accept queue of this listener.",
    ],
};

pub(super) const COOKIES_ALWAYS: Rule = Rule {
    id: "syncookies_always",
    title: "tcp_syncookies=2: every SYN gets a cookie, however few handshakes are under way",
    needs: &[Need::Peers],
    evaluate: cookies_always,
    consequence_of: None,
    advice: &[
        "No client was turned away. A connection opened by a cookie lacks window scaling and SACK if the client sends no time stamps.",
        "With tcp_syncookies=1 only SYNs that meet a full SYN queue get a cookie.",
    ],
    check_next: &[
        "Find who set tcp_syncookies=2: a hardening profile in /etc/sysctl.d, or a test that was never undone.",
    ],
};

pub(super) const OTHER_DROPS: Rule = Rule {
    id: "other_drops",
    title: "SYNs or ACKs dropped for a reason other than a full queue",
    needs: &[Need::Peers],
    evaluate: other,
    consequence_of: None,
    advice: &[
        "Look for a missing route back to the client, a security module or BPF program that refuses the connection, and memory \
         pressure.",
    ],
    check_next: &[
        "Run ip route get CLIENT, and read rp_filter of the interface on which its packets arrive.",
        "Search dmesg for \"TCP: out of memory\", and the audit log of the security module.",
    ],
};

fn full(evidence: &Evidence) -> Option<Finding> {
    let drops = evidence.drops_by(DropCause::SynQueueFull);
    // A full accept queue keeps handshakes in the SYN queue, and is the cause then.
    if drops == 0 || overflows(evidence) * 4 > drops {
        return None;
    }
    Some(Finding {
        impact: Impact::NeverServed,
        affected: drops,
        confidence: Confidence::High,
        summary: format!(
            "The kernel dropped {} because the SYN queue{} was full and no SYN cookies were sent.{}",
            number(drops, "SYN"),
            evidence.backlog.map_or(String::new(), |backlog| format!(
                " (bounded by the listener's backlog of {backlog})"
            )),
            deferred(evidence),
        ),
        clients_see: "a connect delayed by 1 s, 3 s, 7 s or more, or a time-out".to_owned(),
        facts: vec![
            count("drops", drops, "packets"),
            count("addresses", evidence.peers.len() as u64, "peers"),
        ],
        advice: Vec::new(),
        knobs: vec![syncookies(evidence)],
    })
}

fn last_quarter(evidence: &Evidence) -> Option<Finding> {
    let drops = evidence.drops_by(DropCause::SynBacklogReserve);
    if drops == 0 || overflows(evidence) * 4 > drops {
        return None;
    }
    let most = evidence.settings.max_syn_backlog;
    // The kernel drops when less than a quarter is free.
    let taken = most.map_or("three quarters of tcp_max_syn_backlog".to_owned(), |most| {
        format!("{} handshakes, three quarters of tcp_max_syn_backlog={most}", most - (most >> 2))
    });
    let raise = sysctl(
        "net.ipv4.tcp_max_syn_backlog",
        most,
        most.map_or("more than four thirds of the longest SYN queue".to_owned(), |most| {
            most.saturating_mul(4).to_string()
        }),
    );
    Some(Finding {
        impact: Impact::NeverServed,
        affected: drops,
        confidence: Confidence::High,
        summary: format!(
            "The kernel dropped {} of {} not seen before because the SYN queue held more than {taken}: it keeps the rest for known clients.",
            number(drops, "SYN"),
            choose(drops, "a client", "clients")
        ),
        clients_see: "no answer to the SYN of a new client; clients known from an earlier connection get in"
            .to_owned(),
        facts: vec![count("drops", drops, "packets")],
        advice: Vec::new(),
        knobs: vec![syncookies(evidence), raise],
    })
}

fn absorbed(evidence: &Evidence) -> Option<Finding> {
    let sent = evidence.kernel(KernelCounter::SyncookiesSent);
    let full = evidence.kernel(KernelCounter::ReqQFullDoCookies);
    // With 2 the kernel counts every SYN as if the queue were full.
    if full == 0 || evidence.counts.drop_total() > 0 || cookies_are_always_sent(evidence) {
        return None;
    }
    let received = evidence.kernel(KernelCounter::SyncookiesRecv);
    let real = received * 2 >= sent;
    Some(Finding {
        impact: Impact::Absorbed,
        affected: 0,
        confidence: Confidence::High,
        summary: format!(
            "The kernel answered {} with a SYN cookie because the SYN queue was full, and dropped nothing. {}: {}.{}",
            number(full, "SYN"),
            if received == 0 {
                "No cookie came back".to_owned()
            } else {
                format!("{} came back", number(received, "cookie"))
            },
            match (real, full) {
                (true, 1) => "this client is real, and the queue is too small for it",
                (true, _) => "these clients are real, and the queue is too small for them",
                (false, 1) => "the SYN did not become a connection",
                (false, _) if received == 0 => "none of the SYNs became a connection",
                (false, _) => "most of the SYNs were not meant to become connections",
            },
            deferred(evidence),
        ),
        clients_see: "nothing".to_owned(),
        facts: vec![
            count("cookies_sent", sent, "packets"),
            count("cookies_received", received, "packets"),
            count("drops", 0, "packets"),
        ],
        advice: Vec::new(),
        knobs: Vec::new(),
    })
}

fn cookies_always(evidence: &Evidence) -> Option<Finding> {
    let full = evidence.kernel(KernelCounter::ReqQFullDoCookies);
    if full == 0 || evidence.counts.drop_total() > 0 || !cookies_are_always_sent(evidence) {
        return None;
    }
    let queue = evidence.syn_queue.map_or(String::new(), |QueueState { length, limit }| match length {
        0 => format!("; the SYN queue is empty (0 of {})", grouped(limit.into())),
        length => format!("; the SYN queue holds {} of {}", grouped(length.into()), grouped(limit.into())),
    });
    Some(Finding {
        impact: Impact::Absorbed,
        affected: 0,
        confidence: Confidence::High,
        summary: format!(
            "tcp_syncookies=2: every SYN gets a cookie, and {} did{queue}.",
            number(full, "SYN")
        ),
        clients_see: "nothing".to_owned(),
        facts: vec![
            count("cookies_sent", evidence.kernel(KernelCounter::SyncookiesSent), "packets"),
            count("cookies_received", evidence.kernel(KernelCounter::SyncookiesRecv), "packets"),
            count("drops", 0, "packets"),
        ],
        advice: Vec::new(),
        knobs: vec![syncookies(evidence)],
    })
}

/// Describes what listeners with TCP_DEFER_ACCEPT keep in their SYN queues. The kernel counts it by
/// namespace only, so that the sentence names no listener.
fn deferred(evidence: &Evidence) -> String {
    match evidence.deferred {
        0 => String::new(),
        acks => format!(
            " In this network namespace {} set aside (TCPDeferAcceptDrop): a listener with TCP_DEFER_ACCEPT keeps clients that have \
             not sent data in its SYN queue.",
            choose(acks, "1 final ACK was", &format!("{acks} final ACKs were"))
        ),
    }
}

fn other(evidence: &Evidence) -> Option<Finding> {
    let drops = evidence.drops_by(DropCause::Other);
    if drops == 0 {
        return None;
    }
    Some(Finding {
        impact: Impact::Delayed,
        affected: drops,
        confidence: Confidence::Low,
        summary: format!(
            "The kernel dropped {} for a reason other than a full queue.",
            number(drops, "handshake packet")
        ),
        clients_see: "a connect that takes longer or times out".to_owned(),
        facts: vec![count("drops", drops, "packets")],
        advice: Vec::new(),
        knobs: Vec::new(),
    })
}

/// Proposes that cookies are sent while the SYN queue is full, and only then.
pub(super) fn syncookies(evidence: &Evidence) -> Knob {
    sysctl("net.ipv4.tcp_syncookies", evidence.settings.syncookies, "1".to_owned())
}

/// Returns whether every SYN gets a cookie, however few handshakes are under way.
pub(super) fn cookies_are_always_sent(evidence: &Evidence) -> bool {
    evidence.settings.syncookies == Some(ALWAYS)
}
