//! netqueue itself: what it sees, what it missed, what it costs.

use super::board::{Board, INSTANCE, JOB};
use super::panel::{Kind, Panel};

const SCOPE: &str = r#"job=~"$job", instance=~"$instance""#;

pub(crate) fn board() -> Board {
    Board::new(
        "netqueue-health",
        "netqueue / Own health",
        "Whether netqueue's own numbers can be trusted, and what it costs.",
        &[JOB, INSTANCE],
    )
    .row(
        "Can it be trusted?",
        [
            Panel::new(
                Kind::Stat,
                "Up",
                "none",
                "Hosts whose netqueue answers its scrapes.",
            )
            .ask(format!("sum(up{{{SCOPE}}})"), "up"),
            Panel::new(
                Kind::Stat,
                "Programs not attached",
                "none",
                "Kernel functions nobody watches. `netqueue doctor` on that host says why.",
            )
            .limits(1.0, 1.0)
            .ask(format!("count(netqueue_probe_attached{{{SCOPE}}} == 0) or vector(0)"), "missing"),
            Panel::new(
                Kind::Stat,
                "Not attributed",
                "none",
                "Kernel counters less what is attributed, over all namespaces. It is 0, or netqueue is to blame.",
            )
            .limits(1.0, 1.0)
            .ask(format!("sum(abs(netqueue_residual{{{SCOPE}}}))"), "residual"),
            Panel::new(
                Kind::Lines,
                "Residual by counter",
                "none",
                "Kernel counter less attributed, per namespace. A drop under way may show for a moment; what stays is a defect or a loss.",
            )
            .ask(format!("abs(netqueue_residual{{{SCOPE}}})"), "{{instance}} {{netns}} {{counter}}"),
        ],
    )
    .row(
        "Losses",
        [
            Panel::new(
                Kind::Lines,
                "Events and charges lost",
                "cps",
                "ring_full and suppressed leave every count exact: only the list of events has holes. Any other reason means counts that are too low.",
            )
            .wide(8)
            .ask(
                format!("sum by (instance, reason) (rate(netqueue_events_lost_total{{{SCOPE}}}[$__rate_interval]))"),
                "{{instance}} {{reason}}",
            ),
            Panel::new(
                Kind::Lines,
                "Drops and resets",
                "cps",
                "What was counted, whether or not its event could be kept.",
            )
            .wide(8)
            .ask(
                format!("sum by (instance, kind) (rate(netqueue_events_total{{{SCOPE}}}[$__rate_interval]))"),
                "{{instance}} {{kind}}",
            ),
            Panel::new(
                Kind::Lines,
                "Runs of programs the kernel skipped",
                "cps",
                "Missed runs, where the kernel says so. A missed run can cost a charge, which then shows as a residual.",
            )
            .wide(8)
            .ask(
                format!("sum by (instance, probe) (rate(netqueue_probe_missed_total{{{SCOPE}}}[$__rate_interval]))"),
                "{{instance}} {{probe}}",
            ),
        ],
    )
    .row(
        "Cost",
        [
            Panel::new(Kind::Lines, "CPU", "percentunit", "CPU time of the daemon; the programs in the kernel run on the account of whoever connects.")
                .wide(8).ask(format!("rate(process_cpu_seconds_total{{{SCOPE}}}[$__rate_interval])"), "{{instance}}"),
            Panel::new(Kind::Lines, "Resident memory", "bytes", "Resident memory of the daemon, the mapped counts of the kernel side included.")
                .wide(8).ask(format!("process_resident_memory_bytes{{{SCOPE}}}"), "{{instance}}"),
            Panel::new(Kind::Lines, "Series", "none", "Samples per scrape. --max-series bounds the listeners that are told apart.")
                .wide(8).ask(format!("scrape_samples_scraped{{{SCOPE}}}"), "{{instance}}"),
            Panel::new(Kind::Table, "Versions", "none", "What each host runs, from which source and compiler.")
                .ask(format!("netqueue_build_info{{{SCOPE}}}"), "build"),
        ],
    )
}
