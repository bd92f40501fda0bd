//! Rule of each setting: its parser, and the description of what it accepts.

use std::{net::SocketAddr, ops::RangeInclusive, path::PathBuf, str::FromStr, time::Duration};

use bytesize::ByteSize;
use netqueue_domain::AttachWay;
use tracing::Level;

use super::log::{LogFilter, LogFormat};
use crate::delivery::WebhookEndpoint;

/// Parser of a setting, whatever its source.
pub(super) struct Rule<T> {
    /// Description of what is accepted, for error messages.
    pub(super) expected: &'static str,
    /// Parser; `None` for invalid text.
    pub(super) parse: fn(&str) -> Option<T>,
}

pub(super) const LISTEN_ADDRESS: Rule<SocketAddr> = Rule {
    expected: "an IP address and a port such as 127.0.0.1:10124, 0.0.0.0:10124 or [::]:10124 (names are not looked up)",
    parse: |text| text.parse().ok(),
};

pub(super) const TELEMETRY_PATH: Rule<String> = Rule {
    expected: "a path such as /metrics: beginning with a slash and not ending with one, of letters, digits and -._~, \
               and not below /api, /ui or /-",
    parse: |text| telemetry_path(text).then(|| text.to_owned()),
};

pub(super) const WEB_CONFIG_FILE: Rule<Option<PathBuf>> = Rule {
    expected: "the path of a file, or nothing",
    parse: |text| Some((!text.is_empty()).then(|| PathBuf::from(text))),
};

pub(super) const SWITCH: Rule<bool> = Rule { expected: "true or false", parse: |text| text.parse().ok() };

pub(super) const HOSTNAMES: Rule<Vec<String>> = Rule {
    expected: "host names without ports, separated by commas, such as web1,web1.example.org",
    parse: |text| {
        if text.is_empty() {
            Some(Vec::new())
        } else {
            text.split(',').map(|name| hostname(name.trim())).collect()
        }
    },
};

pub(super) const PLACE: Rule<Option<WebhookEndpoint>> = Rule {
    expected: "http://ADDRESS:PORT such as http://10.0.0.7:9093, with a path where there is one, or nothing (names are not \
               looked up, TLS is not spoken: put a proxy before it)",
    parse: |text| if text.is_empty() { Some(None) } else { text.parse().ok().map(Some) },
};

pub(super) const LOG_LEVEL: Rule<LogFilter> = Rule {
    expected: "error, warn, info, debug or trace, or directives such as info,netqueue_daemon::web=debug",
    parse: LogFilter::new,
};

pub(super) const LOG_FORMAT: Rule<LogFormat> = Rule {
    expected: "text or json",
    parse: |text| match text {
        "text" => Some(LogFormat::Text),
        "json" => Some(LogFormat::Json),
        _ => None,
    },
};

pub(super) const ATTACH: Rule<AttachWay> = Rule { expected: AttachWay::EXPECTED, parse: AttachWay::named };

pub(super) const RING_SIZE: Rule<u32> = Rule {
    expected: "a power of two from 4KiB to 1GiB such as 4MiB or 4194304",
    parse: |text| {
        let bytes = u32::try_from(text.parse::<ByteSize>().ok()?.as_u64()).ok()?;
        (bytes.is_power_of_two() && (4096..=1 << 30).contains(&bytes)).then_some(bytes)
    },
};

pub(super) const MEMORY: Rule<usize> = Rule {
    expected: "a size from 64KiB to 64GiB such as 16MiB or 16777216",
    parse: |text| bytes(text, 64 << 10..=64 << 30).and_then(|bytes| usize::try_from(bytes).ok()),
};

pub(super) const EVENT_RATE: Rule<Option<u32>> = Rule {
    expected: "unlimited or a number from 1 to 1000000",
    parse: |text| match text {
        "unlimited" => Some(None),
        text => number(text, 1..=1_000_000).map(Some),
    },
};

pub(super) const EVENT_BURST: Rule<u32> =
    Rule { expected: "a number from 1 to 1000000", parse: |text| number(text, 1..=1_000_000) };

pub(super) const DIRECTORY: Rule<Option<PathBuf>> = Rule {
    expected: "the absolute path of a folder such as /var/lib/netqueue/events, or nothing",
    parse: |text| match text {
        "" => Some(None),
        text => Some(PathBuf::from(text)).filter(|path| path.is_absolute()).map(Some),
    },
};

pub(super) const DISK: Rule<u64> = Rule {
    expected: "a size from 1MiB to 1TiB such as 256MiB or 268435456",
    parse: |text| bytes(text, 1 << 20..=1 << 40),
};

pub(super) const MAX_LISTENERS: Rule<Option<u32>> = Rule {
    expected: "auto or a number from 16 to 1048576",
    parse: |text| match text {
        "auto" => Some(None),
        text => number(text, 16..=1 << 20).map(Some),
    },
};

pub(super) const DROPPED_ACK_CACHE_CAPACITY: Rule<u32> =
    Rule { expected: "a number from 16 to 4194304", parse: |text| number(text, 16..=1 << 22) };

pub(super) const KEEP_CLOSED: Rule<Duration> = Rule {
    expected: "seconds or minutes such as 120s or 10m, from 1s to 1440m",
    parse: |text| {
        let seconds = match (text.strip_suffix('s'), text.strip_suffix('m')) {
            (Some(seconds), _) => number(seconds, 1..=86_400),
            (None, Some(minutes)) => number(minutes, 1..=1440).map(|minutes: u64| minutes * 60),
            (None, None) => None,
        };
        seconds.map(Duration::from_secs)
    },
};

pub(super) const MAX_SERIES: Rule<usize> =
    Rule { expected: "a number from 1 to 1000000", parse: |text| number(text, 1..=1_000_000) };

pub(super) const BPF_LOG: Rule<Option<Level>> = Rule {
    expected: "off, error, warn, info, debug or trace",
    parse: |text| match text {
        "off" => Some(None),
        "error" => Some(Some(Level::ERROR)),
        "warn" => Some(Some(Level::WARN)),
        "info" => Some(Some(Level::INFO)),
        "debug" => Some(Some(Level::DEBUG)),
        "trace" => Some(Some(Level::TRACE)),
        _ => None,
    },
};

fn bytes(text: &str, range: RangeInclusive<u64>) -> Option<u64> {
    text.parse::<ByteSize>().ok().map(|size| size.as_u64()).filter(|bytes| range.contains(bytes))
}

fn number<N: FromStr + PartialOrd>(text: &str, range: RangeInclusive<N>) -> Option<N> {
    text.parse().ok().filter(|number| range.contains(number))
}

fn hostname(name: &str) -> Option<String> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
    (!name.is_empty() && name.bytes().all(plain)).then(|| name.to_owned())
}

fn telemetry_path(text: &str) -> bool {
    let plain = |segment: &str| {
        !matches!(segment, "" | "." | "..")
            && segment.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte))
    };
    text.strip_prefix('/').is_some_and(|rest| {
        rest.split('/').all(plain) && !matches!(rest.split('/').next(), Some("api" | "ui" | "-"))
    })
}
