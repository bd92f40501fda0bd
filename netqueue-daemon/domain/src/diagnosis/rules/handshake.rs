//! Handshakes that a full accept queue interrupted (ghosts, resets at once or later), and scans.

use super::super::{Confidence, Evidence, Finding, Impact, Knob, Need, Rule, software};
use super::{count, fact, number};
use crate::{DropKind, KernelCounter, ResetCause};

pub(super) const GHOSTS: Rule = Rule {
    id: "ghost_connections",
    title: "ghosts: clients believe they are connected to a server that knows nothing of them",
    needs: &[Need::Refusals, Need::Limit, Need::Owner, Need::Syncookies],
    evaluate: ghosts,
    causes: super::accept_queue::REASONS,
    advice: &[
        "give clients a time-out for the first answer: nothing else ends their wait where the server speaks first",
        "raise the backlog: it bounds the SYN queue too, and where that is not full no cookie is sent and no client forgotten",
        "with tcp_syncookies=0 the listener keeps each handshake and lets it in when there is room, but then a flood of SYNs shuts \
         everybody out",
    ],
    check_next: &["netqueue_ghost_connections_live of this listener: those that have not spoken since"],
};

pub(super) const OVERFLOW_ABORT: Rule = Rule {
    id: "overflow_abort",
    title: "accept queue full and tcp_abort_on_overflow=1: clients are reset at the end of the handshake",
    needs: &[Need::AbortOnOverflow, Need::Limit, Need::Owner],
    evaluate: overflow_abort,
    causes: super::accept_queue::REASONS,
    advice: &[
        "set tcp_abort_on_overflow back to 0: the client's ACK, or its data, is sent again and lets it in as soon as there is room",
        "it does not act at the SYN, where most drops of a full accept queue happen since 4.10: those clients still wait",
    ],
    check_next: &["how long the accept queue was full: netqueue_accept_queue_peak against its limit"],
};

pub(super) const EXPIRED: Rule = Rule {
    id: "expired_handshakes",
    title: "handshakes interrupted by a full accept queue were given up, and their clients reset later",
    needs: &[Need::SynackRetries, Need::Owner],
    evaluate: expired,
    causes: super::accept_queue::REASONS,
    advice: &[
        "the cause is the full accept queue some seconds before",
        "the resets come long after the overflow, when the client sends its first data: do not look for their cause in that second",
    ],
    check_next: &[
        "the ages: how long before each reset the final ACK had been dropped",
        "handshakes suspended, recovered and expired of this listener",
    ],
};

pub(super) const ABORTED: Rule = Rule {
    id: "handshake_aborted",
    title: "handshakes went wrong: an unacceptable packet ended them with a reset",
    needs: &[Need::Peers],
    evaluate: aborted,
    causes: &[],
    advice: &[
        "look at who sends them: a client that restarted and uses the same port again, a middlebox that changes sequence numbers, or \
         forged packets",
    ],
    check_next: &["the peers in the events, and a packet capture of one of them"],
};

pub(super) const RESET_BY_PEERS: Rule = Rule {
    id: "handshakes_reset_by_peers",
    title: "peers reset handshakes: a SYN scan or half-open health checks, harmless",
    needs: &[Need::Peers],
    evaluate: reset_by_peers,
    causes: &[],
    advice: &[
        "nothing has to be done: no reset was sent and no client turned away. EmbryonicRsts also counts resets received",
    ],
    check_next: &["who it is: the peers of this listener's handshakes; load balancers check health this way"],
};

fn ghosts(evidence: &Evidence) -> Option<Finding> {
    let seen = evidence.counts.handshakes();
    if seen.ghosts == 0 {
        return None;
    }
    let (live, ended) = (seen.live_ghosts(), seen.ghosts_ended);
    let hang = evidence.port().and_then(software::server_speaks_first);
    let protocol = hang.map_or(
        "a client that speaks first is let in when it sends, while its cookie is valid (some minutes), and reset after; one that waits \
         for a greeting (SMTP, SSH, MySQL, FTP, IMAP ..) waits for ever"
            .to_owned(),
        |name| format!("in {name} the server speaks first: these clients wait for a greeting that never comes"),
    );
    Some(Finding {
        impact: if live > 0 {
            Impact::NeverServed
        } else if ended > 0 {
            Impact::Reset
        } else {
            Impact::Delayed
        },
        affected: if live > 0 { live } else { ended.max(seen.ghosts_recovered) },
        confidence: Confidence::High,
        summary: format!(
            "{} came back while the accept queue was full, and the kernel dropped it: of these clients {live} have not been heard of since, \
             {} got in when they spoke, {ended} got a reset.",
            number(seen.ghosts, "cookie"),
            seen.ghosts_recovered
        ),
        clients_see: format!("connected, and no answer: {protocol}"),
        facts: vec![
            count("ghosts", seen.ghosts, "clients"),
            count("ghosts_live", live, "clients"),
            count("ghosts_let_in", seen.ghosts_recovered, "clients"),
            count("ghosts_reset", ended, "clients"),
            count("drops_at_cookie_ack", evidence.drops(DropKind::AcceptQueueFullCookieAck), "packets"),
        ],
        advice: Vec::new(),
        knobs: Vec::new(),
    })
}

fn overflow_abort(evidence: &Evidence) -> Option<Finding> {
    let resets = evidence.resets(ResetCause::OverflowAbort);
    if resets == 0 {
        return None;
    }
    Some(Finding {
        impact: Impact::Reset,
        affected: resets,
        confidence: Confidence::High,
        summary: format!(
            "{} finished the handshake, found the accept queue full and got a reset at once.",
            number(resets, "client")
        ),
        clients_see: "connect succeeds, the first read or write fails with \"connection reset by peer\""
            .to_owned(),
        facts: vec![
            count("resets", resets, "clients"),
            count("drops_at_final_ack", evidence.drops(DropKind::AcceptQueueFullAck), "packets"),
            count("drops_at_syn", evidence.drops(DropKind::AcceptQueueFullSyn), "packets"),
        ],
        advice: Vec::new(),
        knobs: vec![Knob {
            name: "net.ipv4.tcp_abort_on_overflow".to_owned(),
            set_by: "sysctl in the network namespace of the listener, in force at once".to_owned(),
            current: evidence.settings.abort_on_overflow.map(|on| on.to_string()),
            proposed: "0".to_owned(),
        }],
    })
}

fn expired(evidence: &Evidence) -> Option<Finding> {
    /// Kernel default: the last SYN-ACK is sent after about 31 s, the request is kept for 63 s.
    const DEFAULT_RETRIES: u32 = 5;
    let seen = evidence.counts.handshakes();
    let expired = seen.expired.min(evidence.resets(ResetCause::ExpiredHandshake));
    if expired == 0 {
        return None;
    }
    let retries = evidence.settings.synack_retries;
    let few = retries.filter(|retries| *retries < DEFAULT_RETRIES);
    let ages = evidence.ages.map_or(String::new(), |(shortest, longest)| {
        format!(", {:.1} to {:.1} s after it", shortest.as_secs_f64(), longest.as_secs_f64())
    });
    Some(Finding {
        impact: Impact::Reset,
        affected: expired,
        confidence: Confidence::High,
        summary: format!(
            "{} whose final ACK a full accept queue had dropped got a reset{ages}: the listener had given the handshake up{}.",
            number(expired, "client"),
            few.map_or(String::new(), |retries| format!(" after {} (tcp_synack_retries={retries})", number(retries.into(), "repeated SYN-ACK"))),
        ),
        clients_see: "connected, silence for seconds, then \"connection reset by peer\" at their first data".to_owned(),
        facts: [
            vec![
                count("handshakes_expired", expired, "clients"),
                count("handshakes_suspended", seen.suspended, "clients"),
                count("handshakes_recovered", seen.recovered, "clients"),
            ],
            evidence.ages.map_or(Vec::new(), |(shortest, longest)| {
                vec![
                    fact("shortest_age", shortest.as_secs_f64(), "s"),
                    fact("longest_age", longest.as_secs_f64(), "s"),
                ]
            }),
        ]
        .concat(),
        advice: few
            .map(|_| format!("raise tcp_synack_retries to its default of {DEFAULT_RETRIES}: handshakes are kept for about a minute"))
            .into_iter()
            .collect(),
        knobs: few
            .map(|retries| Knob {
                name: "net.ipv4.tcp_synack_retries".to_owned(),
                set_by: "sysctl in the network namespace of the listener, in force at once".to_owned(),
                current: Some(retries.to_string()),
                proposed: DEFAULT_RETRIES.to_string(),
            })
            .into_iter()
            .collect(),
    })
}

fn aborted(evidence: &Evidence) -> Option<Finding> {
    let resets = evidence.resets(ResetCause::HandshakeAborted);
    (resets > 0).then(|| Finding {
        impact: Impact::Reset,
        affected: resets,
        confidence: Confidence::Medium,
        summary: format!(
            "{} ended with a reset in the middle, because of a packet that did not fit.",
            number(resets, "handshake")
        ),
        clients_see: "\"connection reset by peer\" while connecting, then perhaps a second try that succeeds"
            .to_owned(),
        facts: vec![count("resets", resets, "handshakes")],
        advice: Vec::new(),
        knobs: Vec::new(),
    })
}

fn reset_by_peers(evidence: &Evidence) -> Option<Finding> {
    let embryonic = evidence.kernel(KernelCounter::EmbryonicRsts);
    let sent = evidence.resets(ResetCause::OverflowAbort) + evidence.resets(ResetCause::HandshakeAborted);
    let received = embryonic.saturating_sub(sent);
    if received == 0 {
        return None;
    }
    Some(Finding {
        impact: Impact::Absorbed,
        affected: 0,
        confidence: Confidence::Medium,
        summary: format!(
            "{} met a reset from the peer, who did not want the connection.",
            number(received, "SYN-ACK")
        ),
        clients_see: "nothing: they ended it".to_owned(),
        facts: vec![
            count("handshakes_reset_by_peers", received, "handshakes"),
            count("resets_sent", sent, "resets"),
        ],
        advice: Vec::new(),
        knobs: Vec::new(),
    })
}
