//! Formats numbers, times and addresses for people.

use std::net::IpAddr;

use netqueue_api::{Knob, Listener, Queue, Spike};
pub use netqueue_domain::grouped as count;
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

use super::terminal::plain;

/// Formats a number that may be negative, with thousands separators: `-1,234`.
#[must_use]
pub fn signed(number: i64) -> String {
    let sign = if number < 0 { "-" } else { "" };
    format!("{sign}{}", count(number.unsigned_abs()))
}

/// Formats a number with its noun: `one drop`, `2 drops`.
#[must_use]
pub fn plural(number: u64, noun: &str) -> String {
    if number == 1 { format!("one {noun}") } else { format!("{} {noun}s", count(number)) }
}

/// Formats a queue as length and limit: `9/8`; `-` if there is none.
#[must_use]
pub fn queue(queue: Option<Queue>) -> String {
    queue.map_or_else(|| "-".to_owned(), |queue| format!("{}/{}", queue.length, queue.limit))
}

/// Formats an address and port as `ss` does.
#[must_use]
pub fn address(addr: IpAddr, port: u16) -> String {
    std::net::SocketAddr::new(addr, port).to_string()
}

/// Formats an address and port, either of which may be absent: `0.0.0.0:80`, `10.0.0.1:*`, `(others)`.
#[must_use]
pub fn place(addr: Option<IpAddr>, port: Option<u16>) -> String {
    match (addr, port) {
        (Some(addr), Some(port)) => address(addr, port),
        (Some(IpAddr::V6(addr)), None) => format!("[{addr}]:*"),
        (Some(addr), None) => format!("{addr}:*"),
        (None, Some(port)) => format!("*:{port}"),
        (None, None) => "(others)".to_owned(),
    }
}

/// Formats the listener or the namespace in which a spike occurs.
#[must_use]
pub fn spike_place(spike: &Spike) -> String {
    match spike.scope.as_str() {
        "listener" => place(spike.addr, spike.port),
        scope => format!("{} {}", plain(scope), plain(&spike.netns)),
    }
}

/// Formats the drop cause that a spike counts; `all drops` if it counts every cause.
#[must_use]
pub fn spike_cause(spike: &Spike) -> String {
    if spike.cause == "any" { "all drops".to_owned() } else { plain(&spike.cause) }
}

/// Formats a proposed setting: its name, old and new value, and the way to set it.
/// For example `somaxconn from 128 to 531: sysctl -w ..`.
#[must_use]
pub fn knob(knob: &Knob) -> String {
    let from = knob.current.as_ref().map_or(String::new(), |current| format!(" from {}", plain(current)));
    format!("{}{from} to {}: {}", plain(&knob.name), plain(&knob.proposed), plain(&knob.set_by))
}

/// Formats a listener's address and port, and its namespace unless that is the host's.
#[must_use]
pub fn listener(listener: &Listener) -> String {
    let place = place(listener.addr, listener.port);
    if listener.netns == "host" { place } else { format!("{place} in {}", plain(&listener.netns)) }
}

/// Parses an RFC 3339 time; `None` if the text is no such time.
#[must_use]
pub fn moment(text: &str) -> Option<OffsetDateTime> {
    OffsetDateTime::parse(text, &Rfc3339).ok()
}

/// Formats date and time in UTC: `2026-11-21 02:06:46`.
/// Text that is no RFC 3339 time appears as is.
#[must_use]
pub fn date_time(text: &str) -> String {
    moment(text).map_or_else(
        || plain(text),
        |at| {
            let (date, (hour, minute, second)) = (at.date(), at.time().as_hms());
            let (year, month, day) = (date.year(), u8::from(date.month()), date.day());
            format!("{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02}")
        },
    )
}

/// Formats a time of day in UTC: `02:06:46.245`.
/// Text that is no RFC 3339 time appears as is.
#[must_use]
pub fn clock(text: &str) -> String {
    moment(text).map_or_else(
        || plain(text),
        |at| {
            let (hour, minute, second, milli) = at.time().as_hms_milli();
            format!("{hour:02}:{minute:02}:{second:02}.{milli:03}")
        },
    )
}

/// Seconds from one RFC 3339 time to a later one; `None` if the order is reversed.
#[must_use]
pub fn seconds_between(earlier: &str, later: &str) -> Option<u64> {
    let seconds = (moment(later)? - moment(earlier)?).whole_seconds();
    u64::try_from(seconds).ok()
}

/// Formats a duration in seconds: `45 s`, `12 min`, `3 h 20 min`, `9 days`.
#[must_use]
pub fn span(seconds: u64) -> String {
    let (minutes, hours) = (seconds / 60, seconds / 3600);
    match seconds {
        0..=119 => format!("{seconds} s"),
        120..=7199 => format!("{minutes} min"),
        7200..=172_799 => match minutes % 60 {
            0 => format!("{hours} h"),
            rest => format!("{hours} h {rest} min"),
        },
        _ => format!("{} days", hours / 24),
    }
}

/// Formats a waiting time in seconds: `120 µs`, `3.4 ms`, `1.5 s`.
#[must_use]
pub fn waited(seconds: f64) -> String {
    match seconds {
        short if short < 0.001 => format!("{:.0} µs", short * 1e6),
        short if short < 0.01 => format!("{:.1} ms", short * 1e3),
        short if short < 1.0 => format!("{:.0} ms", short * 1e3),
        long => format!("{long:.1} s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_in_groups_of_three() {
        let grouped = [0, 12, 999, 1000, 1_234_567].map(count);
        assert_eq!(grouped, ["0", "12", "999", "1,000", "1,234,567"]);
        assert_eq!((signed(-1000), signed(7)), ("-1,000".to_owned(), "7".to_owned()));
        assert_eq!((plural(1, "drop"), plural(2000, "drop")), ("one drop".into(), "2,000 drops".into()));
    }

    #[test]
    fn places_and_times_are_short() {
        let addr = |text: &str| Some(text.parse().expect("an address"));
        assert_eq!(place(addr("::"), Some(80)), "[::]:80");
        assert_eq!(place(addr("::1"), None), "[::1]:*");
        assert_eq!(place(None, None), "(others)");
        assert_eq!(clock("2026-11-21T02:06:46.245195495Z"), "02:06:46.245");
        assert_eq!(date_time("2026-11-21T02:06:46.245195495Z"), "2026-11-21 02:06:46");
        assert_eq!(clock("yester\u{1b}day"), "yester\u{fffd}day");
        let spans = [5, 150, 7200, 12_000, 900_000].map(span);
        assert_eq!(spans, ["5 s", "2 min", "2 h", "3 h 20 min", "10 days"]);
    }
}
