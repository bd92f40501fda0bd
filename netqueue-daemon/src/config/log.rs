//! What netqueue logs about itself, and how.

use tracing_subscriber::EnvFilter;

/// What is logged, and how.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct LogConfig {
    /// What.
    pub level: LogFilter,
    /// How.
    pub format: LogFormat,
}

/// What is logged: a level, or directives that say it by module.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogFilter(String);

impl LogFilter {
    /// A word that is no level is refused: taken for a module's name it would silence everything else.
    pub(super) fn new(text: &str) -> Option<Self> {
        let level = |word: &str| ["off", "error", "warn", "info", "debug", "trace"].contains(&word);
        let directive = |part: &str| level(part) || part.contains(['=', '[', ']', '{', '}']);
        let understood = text.split(',').all(directive) && EnvFilter::builder().parse(text).is_ok();
        understood.then(|| Self(text.to_owned()))
    }

    /// The filter for the subscriber.
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

/// How log lines are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}
