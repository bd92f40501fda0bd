//! Configuration file: keys mirror flags, and unknown keys are refused.

use std::{
    fmt, fs,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Deserializer, de};
use toml::Spanned;

use super::source::{ConfigError, Source};

/// Configuration file as read; empty if there is none.
#[derive(Debug, Default)]
pub(super) struct ConfigFile {
    path: PathBuf,
    text: String,
    table: Table,
}

/// Value, and its position in the file.
pub(super) type Given = Spanned<Scalar>;

/// Keys of the file.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct Table {
    pub(super) web: Web,
    pub(super) alerts: Alerts,
    pub(super) log: Log,
    pub(super) no_owners: Option<Given>,
    pub(super) attach: Option<Given>,
    pub(super) ring_size: Option<Given>,
    pub(super) event_memory: Option<Given>,
    pub(super) event_log: Option<Given>,
    pub(super) event_log_size: Option<Given>,
    pub(super) history_memory: Option<Given>,
    pub(super) event_rate: Option<Given>,
    pub(super) event_burst: Option<Given>,
    pub(super) max_listeners: Option<Given>,
    pub(super) dropped_ack_cache_capacity: Option<Given>,
    pub(super) keep_closed: Option<Given>,
    pub(super) max_series: Option<Given>,
    pub(super) no_accept_wait: Option<Given>,
    pub(super) no_queue_depth: Option<Given>,
    pub(super) bpf_log: Option<Given>,
}

/// Keys under `[web]`.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct Web {
    pub(super) listen_address: Option<Given>,
    pub(super) telemetry_path: Option<Given>,
    pub(super) config_file: Option<Given>,
    pub(super) allow_unauthenticated: Option<Given>,
    pub(super) hostnames: Option<Given>,
}

/// Keys under `[alerts]`.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct Alerts {
    pub(super) alertmanager_url: Option<Given>,
    pub(super) webhook_url: Option<Given>,
}

/// Keys under `[log]`.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct Log {
    pub(super) level: Option<Given>,
    pub(super) format: Option<Given>,
}

impl ConfigFile {
    /// Reads the file at `path`; `named_by` is where that path was set.
    pub(super) fn read(path: &Path, named_by: Source) -> Result<Self, ConfigError> {
        let text = fs::read_to_string(path).map_err(|source| ConfigError::Unreadable {
            path: path.to_owned(),
            named_by,
            source,
        })?;
        Self::parse(path, text)
    }

    pub(super) fn parse(path: &Path, text: String) -> Result<Self, ConfigError> {
        let path = path.to_owned();
        match toml::from_str(&text) {
            Ok(table) => Ok(Self { path, text, table }),
            Err(error) => {
                Err(ConfigError::Malformed { path, message: error.to_string().trim_end().to_owned() })
            }
        }
    }

    pub(super) const fn table(&self) -> &Table {
        &self.table
    }

    /// Returns the position of `given`, the value of `key`.
    pub(super) fn source(&self, key: &'static str, given: &Given) -> Source {
        let before = self.text.bytes().take(given.span().start);
        let line = before.filter(|byte| *byte == b'\n').count() + 1;
        Source::File { key, path: self.path.clone(), line }
    }
}

/// String, whole number or boolean, as text: one set of rules then parses it and flags alike.
#[derive(Debug)]
pub(super) struct Scalar(String);

impl Scalar {
    pub(super) fn as_str(&self) -> &str {
        &self.0
    }
}

impl<'de> Deserialize<'de> for Scalar {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ScalarVisitor)
    }
}

struct ScalarVisitor;

impl de::Visitor<'_> for ScalarVisitor {
    type Value = Scalar;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string, a whole number, true or false")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Scalar, E> {
        Ok(Scalar(text.to_owned()))
    }

    fn visit_bool<E: de::Error>(self, truth: bool) -> Result<Scalar, E> {
        Ok(Scalar(truth.to_string()))
    }

    fn visit_i64<E: de::Error>(self, number: i64) -> Result<Scalar, E> {
        Ok(Scalar(number.to_string()))
    }
}
