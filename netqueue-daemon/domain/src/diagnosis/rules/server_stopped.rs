//! Resets of connections whose server ended.

use std::time::Duration;

use super::super::{Confidence, Evidence, Finding, Impact, Need, Rule, Stopped};
use super::{
    count, fact,
    words::{choose, moment, number, who_first},
};
use crate::ResetCause;

pub(super) const SERVER_STOPPED: Rule = Rule {
    id: "server_stopped",
    title: "the server closed its listener: its connections were reset, or new ones refused",
    needs: &[Need::Owner, Need::Peers],
    evaluate: server_stopped,
    consequence_of: None,
    advice: &[
        "If it was stopped or deployed, drain it first: take it out of the load balancer, let its requests finish, then stop it.",
        "If nobody stopped it, look for a crash or an out-of-memory kill.",
    ],
    check_next: &[
        "Read journalctl and dmesg at that time: an exit status, \"Killed\", \"Out of memory\", a deployment.",
        "Check that something listens on the port again: ss -lntp in that network namespace.",
    ],
};

/// Causes of resets that the end of a process has: when it closes, and when its clients send data next.
const CAUSES: [ResetCause; 4] = [
    ResetCause::CloseUnreadData,
    ResetCause::AfterClose,
    ResetCause::NoConnection,
    ResetCause::UnknownConnection,
];

fn server_stopped(evidence: &Evidence) -> Option<Finding> {
    let Stopped { ago, reopened, times, .. } = evidence.stopped.as_ref()?;
    let of = |cause| evidence.reset_clients(cause, evidence.resets_by_stop(cause));
    let connections = CAUSES.map(of).iter().sum();
    let refused = evidence.resets_by_stop(ResetCause::NoListener);
    if connections + refused == 0 {
        return None;
    }
    let reset = format!(
        "{} {} reset then or when {} sent data next",
        number(connections, "connection"),
        choose(connections, "was", "were"),
        choose(connections, "its client", "their clients")
    );
    let were = choose(refused, "was", "were");
    let happened = match (connections, refused) {
        (_, 0) => reset,
        (0, _) => format!("{} {were} refused while nothing listened there", number(refused, "connect")),
        _ => {
            format!("{reset}, and {} {were} refused while nothing listened there", number(refused, "connect"))
        }
    };
    let again = if *reopened { " Something listens there again." } else { "" };
    Some(Finding {
        impact: Impact::Reset,
        affected: connections + refused,
        confidence: Confidence::High,
        summary: format!(
            "{} closed its listener at {} ({} ago{}); {happened}.{again}",
            who_first(evidence),
            moment(evidence, evidence.window.1.before(*ago)),
            time(*ago),
            if *times > 1 { format!(", the last of {times} that were closed there") } else { String::new() }
        ),
        clients_see: match (connections, reopened) {
            (0, true) => "\"connection refused\"; new connections are accepted",
            (0, false) => "\"connection refused\"",
            (_, true) => "\"connection reset by peer\"; new connections are accepted",
            (_, false) => "\"connection reset by peer\", then \"connection refused\"",
        }
        .to_owned(),
        facts: vec![
            count("connections_reset", connections, "clients"),
            count("connects_refused", refused, "SYNs"),
            count("with_unread_data", of(ResetCause::CloseUnreadData), "clients"),
            fact("listener_closed_ago", ago.as_secs_f64(), "s"),
        ],
        advice: Vec::new(),
        knobs: Vec::new(),
    })
}

/// Formats the time since an event: seconds up to two minutes, then minutes.
fn time(ago: Duration) -> String {
    let seconds = ago.as_secs();
    if seconds < 120 { format!("{seconds} s") } else { format!("{} min", seconds / 60) }
}
