//! Every host at a glance: who drops, who resets, who is about to.

use super::board::{Board, INSTANCE, JOB, NETNS};
use super::panel::{Kind, Panel};

const SCOPE: &str = r#"job=~"$job", instance=~"$instance", netns=~"$netns""#;
const TO_LISTENER: &str = "/d/netqueue-listener?${__url_time_range}&var-instance=${__data.fields.instance}&var-netns=${__data.fields.netns}&var-listener=${__data.fields.port}";

pub(crate) fn board() -> Board {
    let drops = format!("netqueue_listen_drops_total{{{SCOPE}}}");
    let resets = format!("netqueue_resets_sent_total{{{SCOPE}}}");
    let by_listener = "instance, netns, addr, port, process";
    Board::new(
        "netqueue-fleet",
        "netqueue / Fleet overview",
        "Which listeners drop connections, which hosts send resets, and why.",
        &[JOB, INSTANCE, NETNS],
    )
    .row(
        "Now",
        [
            Panel::new(
                Kind::Stat,
                "Drops",
                "cps",
                "SYNs and ACKs dropped by listeners, per second. A client that waits is counted at each retransmit.",
            )
            .limits(0.1, 5.0)
            .ask(format!("sum(rate({drops}[$__rate_interval])) or vector(0)"), "drops"),
            Panel::new(
                Kind::Stat,
                "Listeners that drop",
                "none",
                "Listeners that dropped something within the last rate interval.",
            )
            .limits(1.0, 3.0)
            .ask(
                format!("count(sum by ({by_listener}) (rate({drops}[$__rate_interval])) > 0) or vector(0)"),
                "listeners",
            ),
            Panel::new(
                Kind::Stat,
                "Spikes",
                "none",
                "Sudden rises of drops that go on, each held against its own listener's past by netqueue itself.",
            )
            .limits(1.0, 3.0)
            .ask(format!("sum(netqueue_spike_active{{{SCOPE}}}) or vector(0)"), "spikes"),
            Panel::new(
                Kind::Stat,
                "Resets sent",
                "cps",
                "Resets sent, per second. The causes below tell a keep-alive race from a full queue.",
            )
            .limits(10.0, 100.0)
            .ask(format!("sum(rate({resets}[$__rate_interval])) or vector(0)"), "resets"),
            Panel::new(
                Kind::Stat,
                "Ghosts",
                "none",
                "Clients that believe they are connected to a listener that keeps nothing of them.",
            )
            .limits(1.0, 10.0)
            .ask(format!("sum(netqueue_ghost_connections_live{{{SCOPE}}}) or vector(0)"), "ghosts"),
            Panel::new(
                Kind::Stat,
                "Not attributed",
                "none",
                "What the kernel counted and netqueue cannot say whose it was, over all counters. It is 0, or netqueue is to blame.",
            )
            .limits(1.0, 1.0)
            .ask(format!("sum(abs(netqueue_residual{{{SCOPE}}})) or vector(0)"), "residual"),
        ],
    )
    .row(
        "Drops",
        [
            Panel::new(
                Kind::Stack,
                "Drops by cause and stage",
                "cps",
                "accept_queue_full: accept() is too slow, or the backlog too small for a burst. syn_queue_full and syn_backlog_reserve: handshakes pile up with cookies off. other: no route, memory, filters.",
            )
            .ask(format!("sum by (cause, stage) (rate({drops}[$__rate_interval]))"), "{{cause}} at {{stage}}"),
            Panel::new(
                Kind::Lines,
                "Drops by listener",
                "cps",
                "The ten listeners that drop most. Raw counts rank harm backwards: look at the cause and at how long clients wait.",
            )
            .ask(
                format!("topk(10, sum by ({by_listener}) (rate({drops}[$__rate_interval])) > 0) or vector(0)"),
                "{{instance}} {{addr}}:{{port}} {{process}}",
            ),
        ],
    )
    .row(
        "Resets",
        [
            Panel::new(
                Kind::Stack,
                "Resets by cause",
                "cps",
                "after_close: the server had closed the connection, no queue problem. no_listener: a closed port. no_connection: packets of no connection here. expired_handshake: a final ACK was dropped earlier. close_unread_data, linger_zero: the application's own doing.",
            )
            .ask(format!("sum by (cause) (rate({resets}[$__rate_interval]))"), "{{cause}}"),
            Panel::new(
                Kind::Lines,
                "Resets by address and port",
                "cps",
                "The ten addresses and ports that send most resets.",
            )
            .ask(
                format!("topk(10, sum by ({by_listener}, cause) (rate({resets}[$__rate_interval])) > 0) or vector(0)"),
                "{{instance}} {{addr}}:{{port}} {{cause}}",
            ),
        ],
    )
    .row(
        "Queues",
        [Panel::new(
            Kind::Table,
            "Fullest accept queues",
            "none",
            "Longest the queue has been between two scrapes, its limit (it holds one more), and the drops of the last hour. A click leads to the listener.",
        )
        .link("Show this listener", TO_LISTENER)
        .ask(
            format!("topk(25, max by ({by_listener}) (netqueue_accept_queue_peak{{{SCOPE}}}))"),
            "Peak",
        )
        .ask(format!("max by ({by_listener}) (netqueue_accept_queue_limit{{{SCOPE}}})"), "Limit")
        .ask(format!("sum by ({by_listener}) (increase({drops}[1h]))"), "Drops in 1 h")],
    )
}
