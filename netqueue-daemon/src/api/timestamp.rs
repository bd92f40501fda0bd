//! Times as clients write them: RFC 3339, or unix seconds.

use time::{OffsetDateTime, format_description::well_known::Rfc3339};

use netqueue_domain::WallTime;

/// Description of the format, for error messages.
pub(super) const EXPECTED: &str =
    "a time in RFC 3339 such as 2026-01-31T12:34:56Z, or unix seconds such as 1769862896.5";

/// Parses a time, to the nanosecond.
pub(super) fn parse(text: &str) -> Option<WallTime> {
    unix_seconds(text).or_else(|| rfc3339(text))
}

fn unix_seconds(text: &str) -> Option<WallTime> {
    let (seconds, fraction) = text.split_once('.').unwrap_or((text, "0"));
    if !all_digits(seconds) || !all_digits(fraction) {
        return None;
    }
    let nanos: u64 = format!("{fraction:0<9}").get(..9)?.parse().ok()?;
    let seconds: u64 = seconds.parse().ok()?;
    seconds.checked_mul(1_000_000_000)?.checked_add(nanos).map(WallTime::from_nanos)
}

fn all_digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

fn rfc3339(text: &str) -> Option<WallTime> {
    // A `+` before the offset arrives as a space from clients that do not escape it.
    let at = OffsetDateTime::parse(&text.replace(' ', "+"), &Rfc3339).ok()?.unix_timestamp_nanos();
    // Times before the epoch and after the year 2554 are valid too: they precede or follow everything.
    let nanos = if at < 0 { 0 } else { u64::try_from(at).unwrap_or(u64::MAX) };
    Some(WallTime::from_nanos(nanos))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_way_to_write_a_moment_names_the_same_one() {
        let moment = Some(WallTime::from_nanos(1_769_862_896_500_000_000));
        for text in [
            "1769862896.5",
            "1769862896.500000000123",
            "2026-01-31T12:34:56.5Z",
            "2026-01-31T14:34:56.5+02:00",
            "2026-01-31T14:34:56.5 02:00",
            "2026-01-31t07:34:56.500-05:00",
        ] {
            assert_eq!(parse(text), moment, "{text}");
        }
    }

    #[test]
    fn what_a_snapshot_shows_is_understood_to_the_nanosecond() {
        let moment = WallTime::from_nanos(1_790_000_000_123_456_789);
        assert_eq!(parse(&moment.to_rfc3339()), Some(moment));
        assert_eq!(parse("1790000000.123456789"), Some(moment));
    }

    #[test]
    fn anything_else_is_no_moment() {
        for text in ["", "now", "-1", "1.", ".5", "1e9", "2026-01-31", "99999999999999"] {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
