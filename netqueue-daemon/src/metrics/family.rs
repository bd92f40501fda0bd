//! One metric family: its name, help and labels stated once, its samples filled in at the scrape and at once made text. A
//! sample takes ten times the memory of its line: a page is never held as samples.

use std::sync::{Mutex, PoisonError};

use prometheus::{
    Encoder as _, Registry, TextEncoder,
    core::{Collector, Desc},
    proto::{Bucket, Counter, Gauge, Histogram, LabelPair, Metric, MetricFamily, MetricType},
};

/// What a family's values may do.
#[derive(Clone, Copy)]
pub(super) enum Kind {
    /// Only grow.
    Counter,
    /// Go up and down.
    Gauge,
    /// Are distributions, which only grow.
    Histogram,
}

/// A family with `N` labels.
pub(super) struct Family<const N: usize> {
    pub(super) name: &'static str,
    pub(super) help: &'static str,
    pub(super) kind: Kind,
    pub(super) labels: [&'static str; N],
}

/// A family as scraped.
pub(super) struct Scraped {
    pub(super) name: &'static str,
    /// In the text format 0.0.4.
    pub(super) text: Vec<u8>,
}

impl<const N: usize> Family<N> {
    /// The family with these samples; no two may have the same label values.
    pub(super) fn with(
        &self,
        samples: impl IntoIterator<Item = ([String; N], f64)>,
    ) -> prometheus::Result<Scraped> {
        self.scrape(samples.into_iter().map(|(values, value)| self.sample(values, value)).collect())
    }

    /// The same of distributions.
    pub(super) fn with_distributions(
        &self,
        samples: impl IntoIterator<Item = ([String; N], Distribution)>,
    ) -> prometheus::Result<Scraped> {
        let metrics = samples.into_iter().map(|(values, distribution)| {
            let mut metric = Metric::from_label(self.pairs(values));
            metric.set_histogram(distribution.into());
            metric
        });
        self.scrape(metrics.collect())
    }

    fn scrape(&self, metrics: Vec<Metric>) -> prometheus::Result<Scraped> {
        let names = self.labels.iter().map(|&name| name.to_owned()).collect();
        let desc = Desc::new(self.name.to_owned(), self.help.to_owned(), names, Default::default())?;
        let mut family = MetricFamily::default();
        family.set_name(self.name.to_owned());
        family.set_help(self.help.to_owned());
        family.set_field_type(match self.kind {
            Kind::Counter => MetricType::COUNTER,
            Kind::Gauge => MetricType::GAUGE,
            Kind::Histogram => MetricType::HISTOGRAM,
        });
        family.set_metric(metrics);
        let text = text(Box::new(Collected { desc, family: Mutex::new(family) }))?;
        Ok(Scraped { name: self.name, text })
    }

    fn pairs(&self, values: [String; N]) -> Vec<LabelPair> {
        let pairs = self.labels.iter().zip(values).map(|(name, value)| {
            let mut pair = LabelPair::default();
            pair.set_name((*name).to_owned());
            pair.set_value(value);
            pair
        });
        pairs.collect()
    }

    fn sample(&self, values: [String; N], value: f64) -> Metric {
        let mut metric = Metric::from_label(self.pairs(values));
        match self.kind {
            Kind::Counter => {
                let mut counter = Counter::default();
                counter.set_value(value);
                metric.set_counter(counter);
            }
            Kind::Gauge | Kind::Histogram => {
                let mut gauge = Gauge::default();
                gauge.set_value(value);
                metric.set_gauge(gauge);
            }
        }
        metric
    }
}

/// What is collected, checked and sorted, in the text format.
pub(super) fn text(collector: Box<dyn Collector>) -> prometheus::Result<Vec<u8>> {
    let registry = Registry::new();
    registry.register(collector)?;
    let mut text = Vec::new();
    TextEncoder::new().encode(&registry.gather(), &mut text)?;
    Ok(text)
}

/// One family, which is collected once.
struct Collected {
    desc: Desc,
    family: Mutex<MetricFamily>,
}

impl Collector for Collected {
    fn desc(&self) -> Vec<&Desc> {
        vec![&self.desc]
    }

    fn collect(&self) -> Vec<MetricFamily> {
        vec![std::mem::take(&mut *self.family.lock().unwrap_or_else(PoisonError::into_inner))]
    }
}

/// A sample of a histogram.
pub(super) struct Distribution {
    /// Upper bounds and how many values were at or below each.
    pub(super) buckets: Vec<(f64, u64)>,
    pub(super) count: u64,
    pub(super) sum: f64,
}

impl From<Distribution> for Histogram {
    fn from(distribution: Distribution) -> Self {
        let buckets = distribution.buckets.into_iter().map(|(bound, count)| {
            let mut bucket = Bucket::default();
            bucket.set_upper_bound(bound);
            bucket.set_cumulative_count(count);
            bucket
        });
        let mut histogram = Self::default();
        histogram.set_bucket(buckets.collect());
        histogram.set_sample_count(distribution.count);
        histogram.set_sample_sum(distribution.sum);
        histogram
    }
}

/// A count as a sample's value. Prometheus counts in floating point: exact up to 2^53.
pub(super) const fn count(value: u64) -> f64 {
    value as f64
}
