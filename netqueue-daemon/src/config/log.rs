//! Settings of netqueue's own log.

use tracing_subscriber::EnvFilter;

/// Level and format of the log.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct LogConfig {
    /// Level or directives.
    pub level: LogFilter,
    /// Format of log lines.
    pub format: LogFormat,
}

/// Level of the log, or directives that set it by module.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogFilter(String);

impl LogFilter {
    /// Parses a filter.
    /// A single word that is no level is refused, as EnvFilter would take it for a module and silence all
    /// others.
    pub(super) fn new(text: &str) -> Option<Self> {
        let level = |word: &str| ["off", "error", "warn", "info", "debug", "trace"].contains(&word);
        let directive = |part: &str| level(part) || part.contains(['=', '[', ']', '{', '}']);
        let understood = text.split(',').all(directive) && EnvFilter::builder().parse(text).is_ok();
        understood.then(|| Self(text.to_owned()))
    }

    /// Returns the filter for the subscriber.
    #[must_use]
    pub fn to_env_filter(&self) -> EnvFilter {
        EnvFilter::builder().parse_lossy(&self.0)
    }
}

impl Default for LogFilter {
    fn default() -> Self {
        Self("info".to_owned())
    }
}

/// Format of log lines.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogFormat {
    /// Text for people.
    #[default]
    Text,
    /// JSON, one object a line.
    Json,
}
