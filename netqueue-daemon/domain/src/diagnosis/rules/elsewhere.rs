//! Listeners that the clients of a closed port may have meant.

use std::net::SocketAddr;

use super::super::{Elsewhere, Evidence, ListenerElsewhere};
use crate::Family;

/// Appends to the summary of a closed port what listens beside it.
pub(super) fn with_neighbours(summary: String, evidence: &Evidence) -> String {
    let told = |listeners: &[ListenerElsewhere], one: fn(&ListenerElsewhere) -> String| {
        listeners.iter().map(one).collect::<Vec<_>>().join("; ")
    };
    match (&evidence.elsewhere, evidence.addr()) {
        (Elsewhere::OnPort(listeners), Some(addr)) => {
            format!("{summary} That is at {addr}: {}.", told(listeners, only_there))
        }
        (Elsewhere::OtherPorts(listeners), _) => {
            format!("{summary} In this network namespace {}.", told(listeners, listens))
        }
        (Elsewhere::OnPort(_), None) | (Elsewhere::Nothing, _) => summary,
    }
}

fn only_there(one: &ListenerElsewhere) -> String {
    let ipv6 = match one.family {
        Some(Family::Ipv6) if one.addr.is_unspecified() => ", IPv6",
        Some(Family::Ipv4 | Family::Ipv6 | Family::DualStack | Family::Ipv6OrDualStack) | None => "",
    };
    format!("{}{ipv6} only", listens(one))
}

fn listens(one: &ListenerElsewhere) -> String {
    let name = one.owner.as_ref().map(|owner| format!("{} (pid {})", owner.name, owner.pid));
    let name = name.as_deref().unwrap_or("a process");
    format!("{name} listens on {}", SocketAddr::new(one.addr, one.port))
}
