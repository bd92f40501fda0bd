//! Handshakes that a full accept queue interrupted (ghosts, resets at once or later), and scans.

use super::super::{Confidence, ConsequenceOf, Evidence, Finding, Impact, Need, Remedy, Rule, software};
use super::{
    count, fact,
    syn_queue::{cookies_are_always_sent, syncookies},
    sysctl,
    words::{choose, number, range},
};
use crate::{DropKind, Handshakes, KernelCounter, ResetCause};

pub(super) const GHOSTS: Rule = Rule {
    id: "ghost_connections",
    title: "ghost connections: established on the client, without state on the listener",
    needs: &[Need::Refusals, Need::Limit, Need::Owner, Need::Syncookies],
    evaluate: ghosts,
    consequence_of: Some(ConsequenceOf { causes: super::accept_queue::REASONS, sentence: Some(ghosts_left) }),
    advice: &[
        "Give clients a time-out for the first response: if the server sends first, nothing else ends their wait.",
    ],
    check_next: &[
        "Read netqueue_ghost_connections_live of this listener: the clients that have sent nothing since.",
    ],
};

pub(super) const OVERFLOW_ABORT: Rule = Rule {
    id: "overflow_abort",
    title: "accept queue full and tcp_abort_on_overflow=1: clients are reset at the end of the handshake",
    needs: &[Need::AbortOnOverflow, Need::Limit, Need::Owner],
    evaluate: overflow_abort,
    consequence_of: Some(ConsequenceOf {
        causes: super::accept_queue::REASONS,
        sentence: Some(aborted_at_once),
    }),
    advice: &[
        "Set tcp_abort_on_overflow back to 0: a repeated ACK, or the client's data, then completes the handshake as soon as there \
         is room.",
        "The sysctl has no effect at the SYN, where most drops of a full accept queue happen since kernel 4.10: those clients still \
         wait.",
    ],
    check_next: &[
        "Check for how long the accept queue was full: compare netqueue_accept_queue_peak with netqueue_accept_queue_limit.",
    ],
};

pub(super) const EXPIRED: Rule = Rule {
    id: "expired_handshakes",
    title: "handshakes held up by a full accept queue expired, and their clients were reset later",
    needs: &[Need::SynackRetries, Need::Owner],
    evaluate: expired,
    consequence_of: Some(ConsequenceOf { causes: super::accept_queue::REASONS, sentence: Some(reset_later) }),
    advice: &[
        "Find out why the accept queue was full some seconds before: that is the cause.",
        "Do not look for the cause in the second of the reset: the reset comes long after the overflow, when the client sends its \
         first data.",
    ],
    check_next: &[
        "Read age_seconds in the events: the time from the drop of the final ACK to the reset.",
        "Compare the suspended, recovered and expired handshakes of this listener.",
    ],
};

pub(super) const ABORTED: Rule = Rule {
    id: "handshake_aborted",
    title: "handshakes aborted: an unacceptable packet ended them with a reset",
    needs: &[Need::Peers],
    evaluate: aborted,
    consequence_of: None,
    advice: &[
        "Identify the senders: a client that restarted and uses the same port again, a middlebox that changes sequence numbers, or \
         forged packets.",
    ],
    check_next: &["Look at the peers in the events, and capture the packets of one of them."],
};

pub(super) const RESET_BY_PEERS: Rule = Rule {
    id: "handshakes_reset_by_peers",
    title: "peers reset their own handshakes: a SYN scan or half-open health checks, harmless",
    needs: &[Need::Peers],
    evaluate: reset_by_peers,
    consequence_of: None,
    advice: &[
        "No action is needed: this host neither reset nor dropped these handshakes. EmbryonicRsts also counts received resets.",
    ],
    check_next: &["Identify the peers of this listener's handshakes: load balancers check health this way."],
};

fn ghosts(evidence: &Evidence) -> Option<Finding> {
    let seen = evidence.counts.handshakes();
    if seen.ghosts == 0 {
        return None;
    }
    let (live, ended) = (seen.live_ghosts(), seen.ghosts_ended);
    let hang = evidence.port().and_then(software::server_speaks_first);
    let protocol = hang.map_or(
        "a client that sends first gets in when it sends while its cookie is valid (some minutes), and is reset after that; a \
         client that waits for a greeting (SMTP, SSH, MySQL, FTP, IMAP and others) waits forever"
            .to_owned(),
        |name| format!("in {name} the server sends first, so these clients wait for a greeting that never comes"),
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
            "The kernel dropped the final ACK of {} ({}a SYN cookie) because the accept queue was full. {}",
            number(seen.ghosts, "client"),
            choose(seen.ghosts, "", "each "),
            ghost_outcomes(seen)
        ),
        clients_see: format!("an established connection that gets no answer: {protocol}"),
        facts: vec![
            count("ghosts", seen.ghosts, "clients"),
            count("ghosts_live", live, "clients"),
            count("ghosts_let_in", seen.ghosts_recovered, "clients"),
            count("ghosts_reset", ended, "clients"),
            count("drops_at_cookie_ack", evidence.drops(DropKind::AcceptQueueFullCookieAck), "packets"),
        ],
        advice: ghost_remedy(evidence).into_iter().collect(),
        knobs: if cookies_are_always_sent(evidence) { vec![syncookies(evidence)] } else { Vec::new() },
    })
}

/// Says how many ghosts a full accept queue left, and what became of them.
fn ghosts_left(evidence: &Evidence) -> String {
    let seen = evidence.counts.handshakes();
    format!(
        "The full queue left {}, whose last ACK was dropped{}. {}",
        number(seen.ghosts, "ghost connection"),
        if cookies_are_always_sent(evidence) { ": tcp_syncookies is 2, so no handshake is kept" } else { "" },
        ghost_outcomes(seen)
    )
}

/// Returns the advice that follows from what filled the accept queue, and from what had cookies sent.
fn ghost_remedy(evidence: &Evidence) -> Option<String> {
    if cookies_are_always_sent(evidence) {
        return Some(
            "Set tcp_syncookies to 1: at 2 every SYN gets a cookie, so the listener keeps no handshake that could be completed once \
             there is room."
                .to_owned(),
        );
    }
    let remedy = evidence.counterfactual.as_ref().map(|answer| &answer.remedy);
    let advice = match (evidence.present_stall().or_else(|| evidence.past_stall()), remedy) {
        (Some(_), _) => "Find out why the process accepted nothing. A larger backlog would not have helped.",
        (None, Some(Remedy::Faster { .. })) => {
            "Make the process accept faster, or send it less traffic. A larger backlog would not have helped."
        }
        (None, Some(Remedy::Backlog { .. })) => {
            "Raise the backlog: it also bounds the SYN queue, and while that queue is not full the listener sends no SYN cookies and \
             leaves no ghosts."
        }
        (None, Some(Remedy::TooEarly) | None) => return None,
    };
    Some(advice.to_owned())
}

/// Describes what became of the ghosts, of which there is at least one.
fn ghost_outcomes(seen: &Handshakes) -> String {
    let (recovered, live) = (seen.ghosts_recovered, seen.live_ghosts());
    let outcomes = [
        (recovered, choose(recovered, "got in when it sent again", "got in when they sent again")),
        (seen.ghosts_ended, choose(seen.ghosts_ended, "was reset", "were reset")),
        (seen.ghosts_given_up, "gave up and sent a reset"),
        (live, choose(live, "has not been heard from since", "have not been heard from since")),
    ];
    let outcomes: Vec<_> = outcomes.into_iter().filter(|(clients, _)| *clients > 0).collect();
    match outcomes.as_slice() {
        [(1, outcome)] if seen.ghosts == 1 => format!("The client {outcome}."),
        [_] if live == seen.ghosts => {
            format!("{} has been heard from since.", if live == 2 { "Neither" } else { "None" })
        }
        [(clients, outcome)] if *clients == seen.ghosts => {
            format!("{} {outcome}.", if *clients == 2 { "Both" } else { "All" })
        }
        outcomes => {
            let mut parts: Vec<_> =
                outcomes.iter().map(|(clients, outcome)| format!("{clients} {outcome}")).collect();
            let last = parts.pop().unwrap_or_default();
            format!("Afterwards, {} and {last}.", parts.join(", "))
        }
    }
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
            "The kernel reset {} at the end of the handshake because the accept queue was full and tcp_abort_on_overflow was on.",
            number(resets, "client")
        ),
        clients_see:
            "connect() succeeds, then the first read or write fails with \"connection reset by peer\""
                .to_owned(),
        facts: vec![
            count("resets", resets, "clients"),
            count("drops_at_final_ack", evidence.drops(DropKind::AcceptQueueFullAck), "packets"),
            count("drops_at_syn", evidence.drops(DropKind::AcceptQueueFullSyn), "packets"),
        ],
        advice: Vec::new(),
        knobs: vec![sysctl(
            "net.ipv4.tcp_abort_on_overflow",
            evidence.settings.abort_on_overflow,
            "0".to_owned(),
        )],
    })
}

/// Says how many clients were reset because tcp_abort_on_overflow is on.
fn aborted_at_once(evidence: &Evidence) -> String {
    let resets = evidence.resets(ResetCause::OverflowAbort);
    format!(
        "{} {} reset at the end of the handshake, because tcp_abort_on_overflow was on.",
        number(resets, "client"),
        choose(resets, "was", "were")
    )
}

/// Says how many clients were reset when they sent data, because their handshake had been given up.
fn reset_later(evidence: &Evidence) -> String {
    let expired = expired_handshakes(evidence);
    format!(
        "{} {} reset {}: the listener had given up the {} by then.",
        number(expired, "client"),
        choose(expired, "was", "were"),
        later(evidence),
        choose(expired, "handshake", "handshakes")
    )
}

fn expired_handshakes(evidence: &Evidence) -> u64 {
    evidence.counts.handshakes().expired.min(evidence.resets(ResetCause::ExpiredHandshake))
}

fn later(evidence: &Evidence) -> String {
    evidence
        .ages
        .map_or("later".to_owned(), |(shortest, longest)| format!("{} later", range(shortest, longest)))
}

fn expired(evidence: &Evidence) -> Option<Finding> {
    /// Kernel default: the last SYN-ACK is sent after about 31 s, the request is kept for 63 s.
    const DEFAULT_RETRIES: u32 = 5;
    let seen = evidence.counts.handshakes();
    let expired = expired_handshakes(evidence);
    if expired == 0 {
        return None;
    }
    let retries = evidence.settings.synack_retries;
    let few = retries.filter(|retries| *retries < DEFAULT_RETRIES);
    let ages = later(evidence);
    Some(Finding {
        impact: Impact::Reset,
        affected: expired,
        confidence: Confidence::High,
        summary: format!(
            "The kernel dropped the final ACK of {} because the accept queue was full, and reset {} {ages}: the listener had given up \
             the {} by then{}.",
            number(expired, "client"),
            choose(expired, "it", "them"),
            choose(expired, "handshake", "handshakes"),
            few.map_or(String::new(), |retries| format!(
                ", after {} (tcp_synack_retries={retries})",
                number(retries.into(), "repeated SYN-ACK")
            )),
        ),
        clients_see: "an established connection, silence for seconds, then \"connection reset by peer\" when they send their first data".to_owned(),
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
            .map(|_| format!("Raise tcp_synack_retries to its default of {DEFAULT_RETRIES}: the listener then keeps handshakes for about a minute."))
            .into_iter()
            .collect(),
        knobs: few
            .map(|retries| sysctl("net.ipv4.tcp_synack_retries", Some(retries), DEFAULT_RETRIES.to_string()))
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
            "The kernel reset {} in progress{} after an unacceptable packet.",
            number(resets, "handshake"),
            choose(resets, "", ", each")
        ),
        clients_see: "\"connection reset by peer\" while connecting; a second attempt may succeed".to_owned(),
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
            "{} answered {} with a reset instead of the final ACK.",
            choose(received, "A peer", "Peers"),
            number(received, "SYN-ACK")
        ),
        clients_see: "nothing: they ended the handshake themselves".to_owned(),
        facts: vec![
            count("handshakes_reset_by_peers", received, "handshakes"),
            count("resets_sent", sent, "resets"),
        ],
        advice: Vec::new(),
        knobs: Vec::new(),
    })
}
