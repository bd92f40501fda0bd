//! Rows and events as the daemon writes them, for tests.

use std::net::SocketAddr;

use netqueue_api::{Event, Listener};

/// A row as the daemon writes it, with `drops` at SYN time caused by a full accept queue.
pub(crate) fn row(id: &str, port: u16, drops: u64) -> Listener {
    let part = serde_json::json!({"cause": "accept_queue_full", "stage": "syn", "count": drops});
    serde_json::from_value(serde_json::json!({
        "id": id, "kind": "listener", "netns": "4026532201", "netns_inode": 4026532201u64, "addr": "0.0.0.0",
        "port": port, "family": "ipv4", "process": "", "accept_queue": {"length": 2, "limit": 1}, "syn_queue": null,
        "drops": {"total": drops, "by_cause": if drops > 0 { vec![part] } else { vec![] }},
        "resets": {"total": 0, "by_cause": []},
        "handshakes": {"suspended": 0, "recovered": 0, "ended": 0, "expired": 0, "unresolved": 0},
        "ghosts": {"live": 0, "total": 0, "recovered": 0, "ended": 0},
        "events": {"total": drops, "shown": drops, "suppressed": 0, "lost": 0},
        "counters": {"ListenOverflows": drops, "ListenDrops": drops, "TCPReqQFullDrop": 0, "TCPReqQFullDoCookies": 0,
            "SyncookiesSent": 0, "EmbryonicRsts": 0, "OutRsts": 0},
        "first_seen": "2026-01-01T00:00:00Z", "last_seen": "2026-01-01T00:00:00Z"
    }))
    .unwrap()
}

/// An event as the daemon writes it.
pub(crate) fn event(seq: u64, port: u16, peer: &str) -> Event {
    let peer: SocketAddr = peer.parse().unwrap();
    serde_json::from_value(serde_json::json!({
        "seq": seq, "time": "2026-01-01T00:00:00Z", "time_ns": "1790000000000000000", "kind": "drop", "listener": "7",
        "netns": "4026532201", "netns_inode": 4026532201u64, "addr": "0.0.0.0", "port": port,
        "peer": {"addr": peer.ip(), "port": peer.port()}, "stage": "syn", "cause": "accept_queue_full",
        "kernel_reason": null, "accept_queue": {"length": 2, "limit": 1}, "syn_queue": {"length": 0, "limit": 1}, "cpu": 0
    }))
    .unwrap()
}
