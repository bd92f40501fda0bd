//! The metrics page that Prometheus scrapes, as far as the lab reads it.

use anyhow::{Context, Result};

use super::client::Server;

const DROPS: &str = "netqueue_listen_drops_total{";

/// Sums `netqueue_listen_drops_total` of a port over causes and stages; `None` without such a series.
pub(super) fn drops(server: &Server, netns: u64, port: u16) -> Result<Option<u64>> {
    Ok(drops_on(&page(server)?, netns, port))
}

/// Fetches the metrics page.
pub(super) fn page(server: &Server) -> Result<String> {
    String::from_utf8(server.get("/metrics")?).context("the metrics page is no UTF-8")
}

/// Reads the number of inventory passes from a page: over all listeners, or for their owners.
pub(super) fn inventory_passes_on(page: &str, part: &str) -> Result<u64> {
    let passes = format!("netqueue_inventory_passes_total{{part=\"{part}\"}} ");
    let value = page.lines().find_map(|line| line.strip_prefix(&passes)?.trim().parse().ok());
    value.context("the metrics page does not say how often the inventory has looked")
}

/// Reads the process name of a living listener from a page; empty while the owner is unknown.
pub(super) fn process_on(page: &str, netns: u64, port: u16) -> Option<&str> {
    let netns = [format!("netns=\"{netns}\""), format!("{{netns=\"{netns}.")];
    let port = format!(",port=\"{port}\",");
    let info = page.lines().filter(|line| line.starts_with("netqueue_listener_info{"));
    let mut ours = info.filter(|line| netns.iter().any(|netns| line.contains(netns)) && line.contains(&port));
    ours.next()?.split_once("process=\"")?.1.split('"').next()
}

/// Fetches the value of a family without labels; `None` if it is absent.
pub(super) fn total(server: &Server, family: &str) -> Result<Option<u64>> {
    let page = page(server)?;
    let value = page.lines().find_map(|line| line.strip_prefix(family)?.strip_prefix(' '));
    Ok(value.and_then(|value| value.trim().parse().ok()))
}

/// Fetches the value of a listener's gauge; `None` if it has no series.
pub(super) fn gauge(server: &Server, family: &str, netns: u64, port: u16) -> Result<Option<u64>> {
    Ok(gauge_on(&page(server)?, family, netns, port))
}

/// Reads the value of a listener's gauge from a page; `None` if it has no series.
pub(super) fn gauge_on(page: &str, family: &str, netns: u64, port: u16) -> Option<u64> {
    sum_on(page, &format!("{family}{{"), netns, port)
}

/// Counts the series that have an address and port, of drops, resets and every other family.
pub(super) fn series(server: &Server) -> Result<usize> {
    Ok(series_on(&page(server)?))
}

/// Counts the series on a page that have an address and port.
pub(super) fn series_on(page: &str) -> usize {
    page.lines().filter(|line| line.contains(",port=\"")).count()
}

/// Upper bound of the number of series of one address and port.
pub(super) const OF_ONE_PLACE: usize = 64;

fn drops_on(page: &str, netns: u64, port: u16) -> Option<u64> {
    sum_on(page, DROPS, netns, port)
}

fn sum_on(page: &str, family: &str, netns: u64, port: u16) -> Option<u64> {
    // Labels carry the inode number alone, or with the generation after a dot.
    let netns = [format!("netns=\"{netns}\""), format!("netns=\"{netns}.")];
    let port = format!("port=\"{port}\"");
    let values = page.lines().filter_map(|line| {
        let (labels, value) = line.strip_prefix(family)?.rsplit_once("} ")?;
        let mut labels = labels.split(',');
        let ours = labels.any(|label| label == netns[0] || label.starts_with(&netns[1]))
            && labels.any(|label| label == port);
        ours.then(|| value.parse::<u64>().ok())?
    });
    values.reduce(|sum, value| sum + value)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: &str = r#"# TYPE netqueue_listen_drops_total counter
netqueue_listen_drops_total{netns="7",addr="0.0.0.0",port="80",process="",cause="accept_queue_full",stage="ack"} 2
netqueue_listen_drops_total{netns="7.2",addr="0.0.0.0",port="80",process="",cause="accept_queue_full",stage="syn"} 30
netqueue_listen_drops_total{netns="7",addr="0.0.0.0",port="8080",process="",cause="accept_queue_full",stage="syn"} 400
netqueue_listen_drops_total{netns="77",addr="0.0.0.0",port="80",process="",cause="accept_queue_full",stage="syn"} 5000
netqueue_resets_sent_total{netns="7",addr="0.0.0.0",port="80",process="",cause="overflow_abort"} 60000
"#;

    #[test]
    fn a_listener_is_named_as_soon_as_its_owner_is_found() {
        let page = r#"netqueue_listener_info{netns="7.2",addr="0.0.0.0",port="80",process="",family="ipv4"} 1
netqueue_listener_info{netns="77",addr="0.0.0.0",port="81",process="nginx",family="ipv4"} 1
netqueue_inventory_passes_total{part="owners"} 4
"#;
        assert_eq!((process_on(page, 7, 80), process_on(page, 7, 81)), (Some(""), None));
        assert_eq!(process_on(page, 77, 81), Some("nginx"));
        assert_eq!(inventory_passes_on(page, "owners").expect("it says so"), 4);
        assert!(inventory_passes_on(page, "all").is_err());
    }

    #[test]
    fn only_the_port_s_own_drops_are_summed() {
        assert_eq!(drops_on(PAGE, 7, 80), Some(32));
        assert_eq!(drops_on(PAGE, 77, 80), Some(5000));
        assert_eq!(drops_on(PAGE, 7, 81), None);
    }
}
