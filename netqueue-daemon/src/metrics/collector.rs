//! Metrics page of one snapshot, streamed.
//!
//! Everything is built at the scrape, so nothing is kept that could go stale, and the page is sent piece by
//! piece, as fast as it is read.

use std::sync::Arc;

use netqueue_domain::Snapshot;

use super::{
    family::{Body, Lines, Scraped},
    health, info, kernel, listeners,
    series::{Series, fold},
    traffic,
};
use crate::build_info::BuildInfo;

/// Size in bytes at which a piece of the page is sent.
const PIECE: usize = 64 << 10;

/// Iterator over pieces of the page: the snapshot's families in the text format, ordered by name.
pub(super) struct Pieces {
    snapshot: Arc<Snapshot>,
    series: Vec<Series>,
    families: std::vec::IntoIter<Scraped>,
    /// Family being written, whether it has a line yet, and the index of the next series.
    current: Option<(Scraped, bool, usize)>,
}

/// Builds the page of a snapshot.
pub(super) fn page(snapshot: Arc<Snapshot>, build: BuildInfo) -> Pieces {
    let mut families = listeners::families();
    families.extend(traffic::families(snapshot.health.features));
    families.extend(info::families(&snapshot));
    families.extend(kernel::families(&snapshot));
    families.extend(health::families(&snapshot, build));
    families.sort_unstable_by_key(|family| family.name);
    let series = fold(&snapshot);
    Pieces { snapshot, series, families: families.into_iter(), current: None }
}

impl Iterator for Pieces {
    type Item = Vec<u8>;

    fn next(&mut self) -> Option<Vec<u8>> {
        // The lines of one series may exceed the limit.
        let mut piece = Vec::with_capacity(PIECE + PIECE / 8);
        while piece.len() < PIECE {
            let next = || self.families.next().map(|family| (family, false, 0));
            let Some((family, begun, index)) = self.current.take().or_else(next) else { break };
            self.current = write(&self.snapshot, &self.series, &mut piece, family, begun, index);
        }
        (!piece.is_empty()).then_some(piece)
    }
}

/// Writes as much of a family as fits into the piece. Returns the rest.
fn write(
    snapshot: &Snapshot,
    series: &[Series],
    piece: &mut Vec<u8>,
    family: Scraped,
    mut begun: bool,
    from: usize,
) -> Option<(Scraped, bool, usize)> {
    let (head, lines, more) = match &family.body {
        Body::Text(text) => {
            piece.extend_from_slice(text);
            return None;
        }
        Body::OfSeries { head, lines, more } => (head, lines, *more),
    };
    for (index, series) in series.iter().enumerate().skip(from) {
        if piece.len() >= PIECE {
            return Some((family, begun, index));
        }
        let before = piece.len();
        if !begun {
            piece.extend_from_slice(head);
        }
        let after = piece.len();
        lines(snapshot, series, &mut Lines { name: family.name, more, out: piece });
        begun |= piece.len() > after;
        // A family without samples is omitted.
        if !begun {
            piece.truncate(before);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::fixture;

    const BUILD: BuildInfo = BuildInfo { version: "1.2.3", revision: "abcdef0", rustc: "1.95.0" };

    fn text(snapshot: Snapshot) -> String {
        String::from_utf8(page(Arc::new(snapshot), BUILD).flatten().collect()).expect("it is text")
    }

    /// Accepts the page as it is now if run with `NETQUEUE_UPDATE_GOLDEN=1`.
    #[test]
    fn the_page_is_the_one_in_the_repository() {
        let page = text(fixture::incident());
        if std::env::var_os("NETQUEUE_UPDATE_GOLDEN").is_some() {
            let path = concat!(env!("CARGO_MANIFEST_DIR"), "/src/metrics/golden.txt");
            std::fs::write(path, &page).expect("the golden page can be written");
        } else {
            assert_eq!(page, include_str!("golden.txt"));
        }
    }

    #[test]
    fn before_anything_happened_every_loss_is_zero_and_no_series_is_twice() {
        let page = text(fixture::snapshot(Vec::new()));
        assert!(page.contains("netqueue_events_lost_total{reason=\"ring_full\"} 0\n"), "{page}");
        assert!(page.contains("netqueue_events_total{kind=\"drop\"} 0\n"), "{page}");
        for text in [page.as_str(), include_str!("golden.txt")] {
            let series: Vec<_> = text.lines().filter_map(|line| line.rsplit_once(' ')).map(|l| l.0).collect();
            let distinct: std::collections::HashSet<_> = series.iter().collect();
            assert_eq!(series.len(), distinct.len());
        }
    }

    #[test]
    fn a_page_in_pieces_is_whole_and_each_family_is_named_once() {
        let listeners = (1..=3000)
            .map(|n| fixture::account(n, fixture::listener(n, "0.0.0.0", n as u16), fixture::drops(n)));
        let snapshot = Arc::new(fixture::snapshot(listeners.collect()));
        let pieces: Vec<_> = page(snapshot, BUILD).collect();
        assert!(pieces.len() > 10 && pieces.iter().all(|piece| piece.len() < 2 * PIECE));
        let page = String::from_utf8(pieces.concat()).expect("it is text");
        let heads: Vec<_> = page.lines().filter(|line| line.starts_with("# TYPE ")).collect();
        assert!(heads.is_sorted() && heads.windows(2).all(|pair| pair[0] != pair[1]));
        let drops = page.lines().filter_map(|line| line.strip_prefix("netqueue_listen_drops_total{"));
        let drops: Vec<u64> = drops.filter_map(|line| line.rsplit_once(' ')?.1.parse().ok()).collect();
        assert_eq!((drops.len(), drops.iter().sum::<u64>()), (3000, 3000 * 3001 / 2));
    }
}
