//! One listener: how full, how slow, what it dropped and why.

use super::board::{Board, INSTANCE, JOB, LISTENER, NETNS};
use super::panel::{Kind, Panel};

const SCOPE: &str = r#"job=~"$job", instance=~"$instance", netns=~"$netns", port=~"$listener""#;
const WHO: &str = "instance, netns, addr, port, process";
const NAME: &str = "{{instance}} {{addr}}:{{port}} {{process}}";

pub(crate) fn board() -> Board {
    let rate = |metric: &str| format!("sum by ({WHO}) (rate({metric}{{{SCOPE}}}[$__rate_interval]))");
    let now = |metric: &str| format!("max by ({WHO}) ({metric}{{{SCOPE}}})");
    let wait = |quantile: &str| {
        format!(
            "histogram_quantile({quantile}, sum by (le) (rate(netqueue_accept_wait_seconds_bucket{{{SCOPE}}}[$__rate_interval])))"
        )
    };
    Board::new(
        "netqueue-listener",
        "netqueue / Listener",
        "One listener's queues, waiting time, drops and resets, with their causes.",
        &[JOB, INSTANCE, NETNS, LISTENER],
    )
    .row(
        "Who",
        [Panel::new(
            Kind::Table,
            "Listener",
            "none",
            "Owner, unit, backlog, and which of the limits binds: the listen() argument or somaxconn.",
        )
        .ask(format!("netqueue_listener_info{{{SCOPE}}}"), "info")],
    )
    .row(
        "Accept queue",
        [
            Panel::new(
                Kind::Lines,
                "Length, peak and limit",
                "none",
                "The peak is taken at every single enqueue, so a spike between two scrapes shows. A queue of limit n holds n + 1.",
            )
            .ask(now("netqueue_accept_queue_length"), format!("length {NAME}"))
            .ask(now("netqueue_accept_queue_peak"), format!("peak {NAME}"))
            .ask(now("netqueue_accept_queue_limit"), format!("limit {NAME}")),
            Panel::new(
                Kind::Lines,
                "Waiting for accept()",
                "s",
                "From entering the accept queue until accept(). It rises when the process is slow; a larger backlog only makes it longer.",
            )
            .ask(wait("0.5"), "p50")
            .ask(wait("0.9"), "p90")
            .ask(wait("0.99"), "p99"),
            Panel::new(
                Kind::Lines,
                "Connections in and out of the queue",
                "cps",
                "Handshakes completed, and connections accepted, per second. What lies between them waits.",
            )
            .ask(rate("netqueue_connections_established_total"), format!("established {NAME}"))
            .ask(rate("netqueue_connections_accepted_total"), format!("accepted {NAME}")),
            Panel::new(
                Kind::Heatmap,
                "Waiting time, distribution",
                "s",
                "Each column is one step of time, each cell how many connections waited that long for accept().",
            )
            .ask(
                format!("sum by (le) (increase(netqueue_accept_wait_seconds_bucket{{{SCOPE}}}[$__rate_interval]))"),
                "{{le}}",
            ),
        ],
    )
    .row(
        "SYN queue",
        [
            Panel::new(
                Kind::Lines,
                "Handshakes in progress",
                "none",
                "The SYN queue is bounded by the listener's own backlog. With tcp_syncookies on, a full one loses nothing.",
            )
            .ask(now("netqueue_syn_queue_length"), format!("length {NAME}"))
            .ask(now("netqueue_syn_queue_limit"), format!("limit {NAME}")),
            Panel::new(
                Kind::Lines,
                "SYN cookies",
                "cps",
                "Sent instead of an entry in the SYN queue, received back valid, and received invalid.",
            )
            .ask(rate("netqueue_syncookies_sent_total"), format!("sent {NAME}"))
            .ask(rate("netqueue_syncookies_received_total"), format!("received {NAME}"))
            .ask(rate("netqueue_syncookies_failed_total"), format!("failed {NAME}")),
        ],
    )
    .row(
        "Lost and refused",
        [
            Panel::new(
                Kind::Stack,
                "Drops by cause and stage",
                "cps",
                "At syn: the client tries again after 1 s. At ack: the client believes it is connected. At cookie_ack: and nothing will ever tell it.",
            )
            .wide(8)
            .ask(
                format!("sum by (cause, stage) (rate(netqueue_listen_drops_total{{{SCOPE}}}[$__rate_interval]))"),
                "{{cause}} at {{stage}}",
            ),
            Panel::new(
                Kind::Stack,
                "Resets by cause",
                "cps",
                "Resets sent from this port. after_close: the server had closed the connection; if it was idle, let clients close earlier than the server does.",
            )
            .wide(8)
            .ask(
                format!("sum by (cause) (rate(netqueue_resets_sent_total{{{SCOPE}}}[$__rate_interval]))"),
                "{{cause}}",
            ),
            Panel::new(
                Kind::Lines,
                "Ghost connections",
                "none",
                "Clients whose cookie ACK was dropped and who have not spoken since. Where the server speaks first they hang.",
            )
            .wide(8)
            .ask(now("netqueue_ghost_connections_live"), NAME),
        ],
    )
}
