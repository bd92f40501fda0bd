//! One snapshot as Prometheus sees it: everything is built at the scrape, nothing is kept that could go stale.

use super::{family::Scraped, health, info, kernel, listeners, series::fold, traffic};
use crate::{build_info::BuildInfo, domain::Snapshot};

/// The snapshot's families in the text format, by name.
pub(super) fn page(snapshot: &Snapshot, build: BuildInfo) -> prometheus::Result<Vec<u8>> {
    let series = fold(snapshot);
    let mut families = listeners::families(snapshot, &series)?;
    families.extend(traffic::families(&series, snapshot.health.features)?);
    families.extend(info::families(snapshot, &series)?);
    families.extend(kernel::families(snapshot)?);
    families.extend(health::families(snapshot, build)?);
    families.sort_unstable_by_key(|family| family.name);
    let mut page = Vec::with_capacity(families.iter().map(|family| family.text.len()).sum());
    for Scraped { text, .. } in families {
        page.extend(text);
    }
    Ok(page)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::fixture;

    const BUILD: BuildInfo = BuildInfo { version: "1.2.3", revision: "abcdef0", rustc: "1.95.0" };

    fn text(snapshot: &Snapshot) -> String {
        String::from_utf8(page(snapshot, BUILD).expect("it renders")).expect("it is text")
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
