//! Drops for other reasons than a full accept queue, mostly at the SYN, and floods that harmed nobody.

use super::super::{Confidence, Evidence, Finding, Impact, Knob, Need, Rule};
use super::{accept_queue::overflows, count, number};
use crate::{DropCause, KernelCounter};

pub(super) const FULL: Rule = Rule {
    id: "syn_queue_full",
    title: "SYN queue full with cookies off: new clients are dropped",
    needs: &[Need::Syncookies, Need::Peers, Need::Limit],
    evaluate: full,
    causes: &[],
    advice: &[
        "turn cookies on: with tcp_syncookies=1 a flood of SYNs costs no client its connection",
        "the SYN queue of a listener is bounded by its own backlog, min(listen argument, somaxconn); tcp_max_syn_backlog does not \
         enlarge it",
    ],
    check_next: &[
        "whether the SYNs are real: handshakes that complete (entered the accept queue) against SYNs; addresses that never answer \
         the SYN-ACK are a flood",
        "SYN-ACK retransmits of this listener: lost on the way, or never wanted",
    ],
};

pub(super) const LAST_QUARTER: Rule = Rule {
    id: "syn_backlog_reserve",
    title: "last-quarter rule: cookies are off and unknown clients are dropped early",
    needs: &[Need::Syncookies, Need::Peers],
    evaluate: last_quarter,
    causes: &[],
    advice: &[
        "turn cookies on: the rule exists only without them",
        "or raise tcp_max_syn_backlog: with cookies off, a listener with three quarters of it in its SYN queue takes only clients it \
         has seen before",
    ],
    check_next: &[
        "tcp_max_syn_backlog and tcp_syncookies in the listener's own network namespace",
        "the SYN queue's length in the events of this listener",
    ],
};

pub(super) const ABSORBED: Rule = Rule {
    id: "syn_flood_absorbed",
    title: "SYN queue full, absorbed by cookies: nothing was lost",
    needs: &[Need::Peers],
    evaluate: absorbed,
    causes: &[],
    advice: &[
        "nothing has to be done now: every SYN was answered with a cookie; connections opened that way lose window scaling and SACK \
         where the client sends no timestamps",
        "where the clients are real (cookies come back), raise the backlog: it bounds the SYN queue too",
    ],
    check_next: &[
        "cookies received against cookies sent: few came back, the SYNs were a flood",
        "the accept queue of this listener",
    ],
};

pub(super) const OTHER_DROPS: Rule = Rule {
    id: "other_drops",
    title: "SYNs or ACKs dropped for a reason other than a queue",
    needs: &[Need::Peers],
    evaluate: other,
    causes: &[],
    advice: &[
        "look for a missing route back to the client, a security module or BPF program that refuses the connection, and memory \
         pressure",
    ],
    check_next: &[
        "ip route get CLIENT, and rp_filter on the interface it came in by",
        "dmesg for TCP: out of memory, and the audit log of the security module",
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
            "{} dropped because the SYN queue{} was full and no cookies were sent.",
            number(drops, "SYN"),
            evidence.backlog.map_or(String::new(), |backlog| format!(
                ", bounded by the listener's backlog of {backlog},"
            )),
        ),
        clients_see: "their SYN is not answered: connecting takes 1 s, 3 s, 7 s .. longer, or times out"
            .to_owned(),
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
    let quarter = most.map_or(String::new(), |most| {
        format!(" with {} of tcp_max_syn_backlog={most} taken", most - (most >> 2))
    });
    let raise = Knob {
        name: "net.ipv4.tcp_max_syn_backlog".to_owned(),
        set_by: "sysctl in the network namespace of the listener, in force at once".to_owned(),
        current: most.map(|most| most.to_string()),
        proposed: most.map_or("more than four thirds of the longest SYN queue".to_owned(), |most| {
            most.saturating_mul(4).to_string()
        }),
    };
    Some(Finding {
        impact: Impact::NeverServed,
        affected: drops,
        confidence: Confidence::High,
        summary: format!(
            "{} of clients not seen before were dropped{quarter}: the rest is kept for those that were.",
            number(drops, "SYN")
        ),
        clients_see: "new clients' SYNs are not answered; clients known from an earlier connection get in"
            .to_owned(),
        facts: vec![count("drops", drops, "packets")],
        advice: Vec::new(),
        knobs: vec![syncookies(evidence), raise],
    })
}

fn absorbed(evidence: &Evidence) -> Option<Finding> {
    let sent = evidence.kernel(KernelCounter::SyncookiesSent);
    let full = evidence.kernel(KernelCounter::ReqQFullDoCookies);
    if full == 0 || evidence.counts.drop_total() > 0 {
        return None;
    }
    let received = evidence.kernel(KernelCounter::SyncookiesRecv);
    let real = received * 2 >= sent;
    Some(Finding {
        impact: Impact::Absorbed,
        affected: 0,
        confidence: Confidence::High,
        summary: format!(
            "{} met a full SYN queue and got a cookie; {received} came back{}. No drop: nothing was lost.",
            number(full, "SYN"),
            if real {
                ": these clients are real, the queue is small for them"
            } else {
                ": most were not meant to become connections"
            },
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

fn other(evidence: &Evidence) -> Option<Finding> {
    let drops = evidence.drops_by(DropCause::Other);
    if drops == 0 {
        return None;
    }
    Some(Finding {
        impact: Impact::Delayed,
        affected: drops,
        confidence: Confidence::Low,
        summary: format!("{} dropped, and none of the queues was the reason.", number(drops, "packet")),
        clients_see: "connecting takes longer or times out".to_owned(),
        facts: vec![count("drops", drops, "packets")],
        advice: Vec::new(),
        knobs: Vec::new(),
    })
}

fn syncookies(evidence: &Evidence) -> Knob {
    Knob {
        name: "net.ipv4.tcp_syncookies".to_owned(),
        set_by: "sysctl in the network namespace of the listener, in force at once".to_owned(),
        current: evidence.settings.syncookies.map(|cookies| cookies.to_string()),
        proposed: "1".to_owned(),
    }
}
