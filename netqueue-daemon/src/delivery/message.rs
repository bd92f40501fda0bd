//! Notifications in the format of Alertmanager.
//!
//! Its API v2 takes a list of alerts, its webhooks send them in an envelope.

use netqueue_domain::{Snapshot, SpikeScope};
use serde_json::{Value, json};

use super::{Kind, outbox::Notification};

/// Name of the alert, equal to the Prometheus rule's so that one silence or route covers both.
const NAME: &str = "NetqueueListenDropsSpike";

/// Builds the message for a target of this kind.
pub(super) fn body(kind: Kind, letters: &[Notification], snapshot: &Snapshot, instance: &str) -> Value {
    let alerts: Vec<Value> = letters.iter().map(|letter| alert(letter, snapshot, instance)).collect();
    match kind {
        Kind::Alertmanager => Value::Array(alerts),
        Kind::Webhook => {
            let firing = letters.iter().any(Notification::is_active);
            let alerts = letters.iter().zip(alerts).map(|(letter, mut alert)| {
                alert["status"] = json!(status(letter.is_active()));
                alert
            });
            json!({
                "version": "4", "receiver": "netqueue", "status": status(firing),
                "groupKey": format!("netqueue/{instance}"), "groupLabels": {}, "externalURL": "",
                "commonLabels": {"alertname": NAME, "instance": instance}, "commonAnnotations": {},
                "truncatedAlerts": 0, "alerts": alerts.collect::<Vec<_>>(),
            })
        }
    }
}

const fn status(firing: bool) -> &'static str {
    if firing { "firing" } else { "resolved" }
}

fn alert(letter: &Notification, snapshot: &Snapshot, instance: &str) -> Value {
    let (addr, port) = match &letter.scope {
        SpikeScope::Account(key, _) => (key.addr(), key.port()),
        SpikeScope::Namespace(_) => (None, None),
    };
    let addr = addr.map(|addr| if addr.is_ipv6() { format!("[{addr}]") } else { addr.to_string() });
    let (addr, port) = (addr.unwrap_or_default(), port.map(|port| port.to_string()).unwrap_or_default());
    let clients =
        format!("{}{}", if letter.peers.at_least { "at least " } else { "" }, letter.peers.connections);
    let mut alert = json!({
        "labels": {
            "alertname": NAME, "severity": "warning", "job": "netqueue", "instance": instance,
            "netns": snapshot.netns_name(letter.scope.netns()), "addr": addr, "port": port,
            "cause": letter.scope.cause(),
        },
        "annotations": {
            "summary": format!("Listener {addr}:{port} on {instance} suddenly drops connections: {}", letter.scope.cause()),
            "description": format!(
                "{} drops, {} within one second where {:.1} are usual; {clients} clients. `netqueue explain {addr}:{port}` on that host says why.",
                letter.drops, letter.peak_per_second, letter.baseline_per_second
            ),
            "runbook_url": format!("http://{instance}/runbooks/listen-drops-spike"),
        },
        "startsAt": snapshot.wall_clock.rfc3339(letter.started),
        "generatorURL": format!("http://{instance}/"),
    });
    if let Some(ended) = letter.ended {
        alert["endsAt"] = json!(snapshot.wall_clock.rfc3339(ended));
    }
    alert
}

#[cfg(test)]
pub(super) mod tests {
    use std::net::Ipv4Addr;

    use super::*;
    use netqueue_domain::{AccountKey, DropCause, Endpoint, Netns, PeerCount, Spike, Timestamp};

    /// Makes an active spike of port 80.
    pub(in crate::delivery) fn spike(id: u64) -> Spike {
        let at = |seconds: u64| Timestamp::from_nanos(seconds * 1_000_000_000);
        let netns = Netns { inode: 4_026_531_840, generation: 0 };
        let key = AccountKey::Endpoint(Endpoint { netns, addr: Ipv4Addr::UNSPECIFIED.into(), port: 80 });
        Spike {
            id,
            scope: SpikeScope::Account(key, DropCause::AcceptQueueFull),
            started: at(1),
            detected: at(2),
            last_drop: at(3),
            ended: None,
            drops: 40,
            peak_per_second: 30,
            baseline_per_second: 0.5,
            peers: PeerCount { addresses: 1, connections: 12, at_least: false },
        }
    }
}
