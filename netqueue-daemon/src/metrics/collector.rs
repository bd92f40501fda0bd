//! One snapshot as Prometheus sees it: everything is built at the scrape, nothing is kept that could go stale.

use prometheus::{
    Encoder as _, Registry, TextEncoder,
    core::{Collector, Desc},
    proto::MetricFamily,
};

use super::{family::Scraped, health, info, kernel, listeners, series::fold, traffic};
use crate::{build_info::BuildInfo, domain::Snapshot};

/// The families of one snapshot.
pub(super) struct SnapshotCollector(Vec<Scraped>);

impl SnapshotCollector {
    /// The snapshot's families.
    pub(super) fn new(snapshot: &Snapshot, build: BuildInfo) -> prometheus::Result<Self> {
        let series = fold(snapshot);
        let mut families = listeners::families(snapshot, &series)?;
        families.extend(traffic::families(&series, snapshot.health.features)?);
        families.extend(info::families(snapshot, &series)?);
        families.extend(kernel::families(snapshot)?);
        families.extend(health::families(snapshot, build)?);
        Ok(Self(families))
    }
}

impl Collector for SnapshotCollector {
    fn desc(&self) -> Vec<&Desc> {
        self.0.iter().map(|scraped| &scraped.desc).collect()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        self.0.iter().map(|scraped| scraped.family.clone()).collect()
    }
}

/// What is collected, as a page in the text format 0.0.4.
pub(super) fn page(collectors: impl IntoIterator<Item = Box<dyn Collector>>) -> prometheus::Result<Vec<u8>> {
    let registry = Registry::new();
    collectors.into_iter().try_for_each(|collector| registry.register(collector))?;
    let mut page = Vec::new();
    TextEncoder::new().encode(&registry.gather(), &mut page)?;
    Ok(page)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::fixture;

    const BUILD: BuildInfo = BuildInfo { version: "1.2.3", revision: "abcdef0", rustc: "1.95.0" };

    fn text(snapshot: &Snapshot) -> String {
        let collector = SnapshotCollector::new(snapshot, BUILD).expect("it renders");
        String::from_utf8(page([Box::new(collector) as Box<dyn Collector>]).expect("it renders"))
            .expect("it is text")
    }

    /// Run with `NETQUEUE_UPDATE_GOLDEN=1` to accept what the page has become.
    #[test]
    fn the_page_is_the_one_in_the_repository() {
        let page = text(&fixture::incident());
        if std::env::var_os("NETQUEUE_UPDATE_GOLDEN").is_some() {
            let path = concat!(env!("CARGO_MANIFEST_DIR"), "/src/metrics/golden.txt");
            std::fs::write(path, &page).expect("the golden page can be written");
        } else {
            assert_eq!(page, include_str!("golden.txt"));
        }
    }

    #[test]
    fn before_anything_happened_every_loss_is_zero_and_no_series_is_twice() {
        let page = text(&fixture::snapshot(Vec::new()));
        assert!(page.contains("netqueue_events_lost_total{reason=\"ring_full\"} 0\n"), "{page}");
        assert!(page.contains("netqueue_events_total{kind=\"drop\"} 0\n"), "{page}");
        for text in [page.as_str(), include_str!("golden.txt")] {
            let series: Vec<_> = text.lines().filter_map(|line| line.rsplit_once(' ')).map(|l| l.0).collect();
            let distinct: std::collections::HashSet<_> = series.iter().collect();
            assert_eq!(series.len(), distinct.len());
        }
    }
}
