//! Metric family: name, help and labels defined once, samples written as text at the scrape.
//!
//! A sample of the prometheus crate takes ten times the memory of its line, so only the lines of the piece
//! being sent are kept.

use netqueue_domain::Snapshot;
use prometheus::{Encoder as _, Registry, TextEncoder, core::Collector};

use super::{
    series::Series,
    text::{self, Kind},
};

/// Metric family with `N` labels.
pub(super) struct Family<const N: usize> {
    pub(super) name: &'static str,
    pub(super) help: &'static str,
    pub(super) kind: Kind,
    pub(super) labels: [&'static str; N],
}

/// Metric family as scraped.
pub(super) struct Scraped {
    pub(super) name: &'static str,
    pub(super) body: Body,
}

/// Function that writes a family's samples of one series.
type Writer = dyn Fn(&Snapshot, &Series, &mut Lines<'_>) + Send;

/// Lines of a family.
pub(super) enum Body {
    /// All lines.
    Text(Vec<u8>),
    /// Lines to be written series by series.
    OfSeries {
        /// Lines above the samples: HELP and TYPE.
        head: Vec<u8>,
        /// Function that writes the lines of one series.
        lines: Box<Writer>,
        /// Names of the labels that follow those of the series.
        more: &'static [&'static str],
    },
}

impl<const N: usize> Family<N> {
    /// Family with these samples; no two may have the same label values.
    pub(super) fn with(&self, samples: impl IntoIterator<Item = ([String; N], f64)>) -> Scraped {
        let mut samples: Vec<_> = samples.into_iter().collect();
        samples.sort_unstable_by(|(one, _), (other, _)| one.cmp(other));
        let mut out = Vec::new();
        if !samples.is_empty() {
            text::head(&mut out, self.name, self.help, self.kind);
        }
        for (values, value) in samples {
            out.extend_from_slice(self.name.as_bytes());
            if N > 0 {
                out.push(b'{');
                text::labels(&mut out, self.labels.into_iter().zip(values.iter().map(String::as_str)));
                out.push(b'}');
            }
            out.push(b' ');
            text::value(&mut out, value);
            out.push(b'\n');
        }
        Scraped { name: self.name, body: Body::Text(out) }
    }

    /// Family whose samples `lines` writes for each series. Its first labels are those of the series.
    pub(super) fn of_series(
        &'static self,
        lines: impl Fn(&Snapshot, &Series, &mut Lines<'_>) + Send + 'static,
    ) -> Scraped {
        let mut head = Vec::new();
        text::head(&mut head, self.name, self.help, self.kind);
        let more = self.labels.get(super::series::LABELS.len()..).unwrap_or_default();
        Scraped { name: self.name, body: Body::OfSeries { head, lines: Box::new(lines), more } }
    }
}

/// Output for the samples of one series.
pub(super) struct Lines<'a> {
    pub(super) name: &'static str,
    pub(super) more: &'static [&'static str],
    pub(super) out: &'a mut Vec<u8>,
}

impl Lines<'_> {
    /// Writes one sample; `more` are the values of the labels that follow those of the series.
    pub(super) fn sample<const M: usize>(&mut self, series: &Series, more: [&str; M], value: f64) {
        self.begin(series, "");
        let more = self.more.iter().copied().zip(more);
        more.for_each(|(name, value)| self.label(name, value));
        self.end(value);
    }

    /// Writes one distribution.
    pub(super) fn distribution(&mut self, series: &Series, distribution: &Distribution) {
        let mut bound = Vec::new();
        for (upper, below) in
            distribution.buckets.iter().copied().chain([(f64::INFINITY, distribution.count)])
        {
            bound.clear();
            text::value(&mut bound, upper);
            self.begin(series, "_bucket");
            self.label("le", &String::from_utf8_lossy(&bound));
            self.end(count(below));
        }
        self.begin(series, "_sum");
        self.end(distribution.sum);
        self.begin(series, "_count");
        self.end(count(distribution.count));
    }

    fn begin(&mut self, series: &Series, part: &str) {
        for part in [self.name, part, "{"] {
            self.out.extend_from_slice(part.as_bytes());
        }
        self.out.extend_from_slice(&series.labels);
    }

    fn label(&mut self, name: &str, value: &str) {
        self.out.push(b',');
        text::label(self.out, name, value);
    }

    fn end(&mut self, value: f64) {
        self.out.extend_from_slice(b"} ");
        text::value(self.out, value);
        self.out.push(b'\n');
    }
}

/// Encodes what other parts of the daemon collect in the text format, checked and sorted.
pub(super) fn text(collector: Box<dyn Collector>) -> prometheus::Result<Vec<u8>> {
    let registry = Registry::new();
    registry.register(collector)?;
    let mut text = Vec::new();
    TextEncoder::new().encode(&registry.gather(), &mut text)?;
    Ok(text)
}

/// Sample of a histogram.
pub(super) struct Distribution {
    /// Upper bounds, and the number of values at or below each.
    pub(super) buckets: Vec<(f64, u64)>,
    pub(super) count: u64,
    pub(super) sum: f64,
}

/// Converts a count to a sample's value. Prometheus uses floating point: exact up to 2^53.
pub(super) const fn count(value: u64) -> f64 {
    value as f64
}
