//! Text format 0.0.4, written line by line.
//!
//! A scrape of ten thousand listeners waits for nothing but these bytes.

use std::io::Write as _;

/// Type of a metric family.
#[derive(Clone, Copy)]
pub(super) enum Kind {
    /// Values that only grow.
    Counter,
    /// Values that go up and down.
    Gauge,
    /// Distributions, whose counts only grow.
    Histogram,
}

impl Kind {
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
        }
    }
}

/// Writes the lines above a family's samples.
pub(super) fn head(out: &mut Vec<u8>, name: &str, help: &str, kind: Kind) {
    for part in ["# HELP ", name, " "] {
        out.extend_from_slice(part.as_bytes());
    }
    escape(out, help, false);
    for part in ["\n# TYPE ", name, " ", kind.as_str(), "\n"] {
        out.extend_from_slice(part.as_bytes());
    }
}

/// Writes `name="value"` for each label, separated by commas.
pub(super) fn labels<'a>(out: &mut Vec<u8>, labels: impl IntoIterator<Item = (&'a str, &'a str)>) {
    for (index, (name, value)) in labels.into_iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        label(out, name, value);
    }
}

/// Writes one label.
pub(super) fn label(out: &mut Vec<u8>, name: &str, value: &str) {
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b"=\"");
    escape(out, value, true);
    out.push(b'"');
}

/// Writes a value. Counts are exact up to 2^53, as in Prometheus.
pub(super) fn value(out: &mut Vec<u8>, value: f64) {
    const EXACT: f64 = 9_007_199_254_740_992.0;
    // Writing to memory cannot fail.
    let _done = if value.is_infinite() {
        out.write_all(if value > 0.0 { b"+Inf" } else { b"-Inf" })
    } else if value.is_sign_positive() && value < EXACT && value.fract() == 0.0 {
        write!(out, "{}", value as u64)
    } else {
        write!(out, "{value}")
    };
}

/// Escapes backslashes, line breaks and, inside quotes, quotes.
fn escape(out: &mut Vec<u8>, text: &str, quoted: bool) {
    for byte in text.bytes() {
        match byte {
            b'\\' => out.extend_from_slice(b"\\\\"),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'"' if quoted => out.extend_from_slice(b"\\\""),
            _ => out.push(byte),
        }
    }
}

#[cfg(test)]
mod tests {
    use prometheus::{
        Encoder as _, TextEncoder,
        proto::{Gauge, LabelPair, Metric, MetricFamily, MetricType},
    };
    use proptest::prelude::*;

    use super::*;

    /// Encodes one sample with the reference implementation.
    fn reference(help: &str, label: &str, value: f64) -> Vec<u8> {
        let mut pair = LabelPair::default();
        pair.set_name("l".to_owned());
        pair.set_value(label.to_owned());
        let mut gauge = Gauge::default();
        gauge.set_value(value);
        let mut metric = Metric::from_label(vec![pair]);
        metric.set_gauge(gauge);
        let mut family = MetricFamily::default();
        family.set_name("m".to_owned());
        family.set_help(help.to_owned());
        family.set_field_type(MetricType::GAUGE);
        family.set_metric(vec![metric]);
        let mut text = Vec::new();
        TextEncoder::new().encode(&[family], &mut text).expect("it is a family");
        text
    }

    fn own(help: &str, label: &str, number: f64) -> Vec<u8> {
        let mut text = Vec::new();
        head(&mut text, "m", help, Kind::Gauge);
        text.extend_from_slice(b"m{");
        labels(&mut text, [("l", label)]);
        text.extend_from_slice(b"} ");
        value(&mut text, number);
        text.push(b'\n');
        text
    }

    proptest! {
        #[test]
        fn every_sample_is_written_as_the_reference_writes_it(help in "\\PC+", label in any::<String>(), value in any::<f64>()) {
            prop_assert_eq!(own(&help, &label, value), reference(&help, &label, value));
        }
    }

    #[test]
    fn so_are_counts_and_what_is_no_number() {
        let numbers =
            [0.0, -0.0, -1.0, 0.1, 1e15, 9_007_199_254_740_992.0, 1e300, 5e-7, f64::NAN, 123.0, 94.09];
        for number in numbers {
            assert_eq!(
                own("h \\ \n \"", "a\"} 1\n\\", number),
                reference("h \\ \n \"", "a\"} 1\n\\", number)
            );
        }
        let mut bound = Vec::new();
        value(&mut bound, f64::INFINITY);
        assert_eq!(bound, b"+Inf");
    }
}
