//! Configuration, parsed once into types that cannot be invalid.
//!
//! Flags take precedence over environment variables, these over the file, the file over defaults.

mod args;
mod file;
mod log;
mod rules;
mod source;
#[cfg(test)]
mod tests;

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::PathBuf,
    time::Duration,
};

use netqueue_domain::AttachWay;

pub use args::DaemonArgs;
use file::{ConfigFile, Given};
pub use log::{LogConfig, LogFilter, LogFormat};
use rules::Rule;
pub use source::{ConfigError, Source};

use crate::delivery::WebhookEndpoint;

/// Configuration of the daemon.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Address and port of the web server.
    pub listen_address: SocketAddr,
    /// Path of the metrics page: begins with a slash, and collides with no other route.
    pub telemetry_path: String,
    /// File with TLS and users, in the format of the Prometheus exporter-toolkit.
    pub web_config_file: Option<PathBuf>,
    /// True if the API is served to the network without authentication.
    pub allow_unauthenticated: bool,
    /// Names by which clients of the API may address this host, beside `localhost` and its own.
    pub hostnames: Vec<String>,
    /// Alertmanager that receives spike alerts.
    pub alertmanager: Option<WebhookEndpoint>,
    /// Webhook that receives spike alerts.
    pub webhook: Option<WebhookEndpoint>,
    /// Level and format of the log.
    pub log: LogConfig,
    /// True if the processes that own listeners are looked for.
    pub owners: bool,
    /// Mode in which programs are attached.
    pub attach: AttachWay,
    /// Size of the ring buffer for events in bytes: a power of two, at least 4096.
    pub ring_bytes: u32,
    /// Memory for the newest events in bytes.
    pub event_memory: usize,
    /// Directory of the event log on disk; `None`: no event log.
    pub event_log: Option<PathBuf>,
    /// Size limit of the event log on disk in bytes.
    pub event_log_bytes: u64,
    /// Memory for the histories of listeners in bytes.
    pub history_memory: usize,
    /// Events a second that each listener may send from each CPU; `None`: unlimited.
    pub event_rate: Option<u32>,
    /// Events that each listener may send at once from each CPU after a silence.
    pub event_burst: u32,
    /// Entries of the kernel side's map of listeners; `None`: sized by the number of CPUs.
    pub max_listeners: Option<u32>,
    /// Handshakes whose final ACK was dropped that the kernel side remembers.
    pub dropped_ack_cache_capacity: u32,
    /// Least time for which a closed listener keeps its own counts.
    pub keep_closed: Duration,
    /// Number of addresses and ports that the metrics distinguish; the rest is `port="other"`.
    pub max_series: usize,
    /// True if the wait of connections for accept() is measured.
    pub accept_wait: bool,
    /// True if the accept queue is sampled whenever a connection enters it.
    pub queue_depth: bool,
    /// Log level of the eBPF programs; `None`: no log.
    pub bpf_log: Option<tracing::Level>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen_address: SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 10124),
            telemetry_path: "/metrics".to_owned(),
            web_config_file: None,
            allow_unauthenticated: false,
            hostnames: Vec::new(),
            alertmanager: None,
            webhook: None,
            log: LogConfig::default(),
            owners: true,
            attach: AttachWay::Auto,
            ring_bytes: 4 << 20,
            event_memory: 16 << 20,
            event_log: None,
            event_log_bytes: 256 << 20,
            history_memory: 32 << 20,
            event_rate: Some(100),
            event_burst: 1000,
            max_listeners: None,
            dropped_ack_cache_capacity: 16_384,
            keep_closed: Duration::from_secs(120),
            max_series: 2000,
            accept_wait: true,
            queue_depth: true,
            bpf_log: None,
        }
    }
}

impl Config {
    /// Resolves flags, environment variables and the file that they name.
    ///
    /// # Errors
    ///
    /// The file cannot be read, or a value in it, in a flag or in an environment variable is invalid.
    pub fn load(args: &DaemonArgs) -> Result<Self, ConfigError> {
        let file = match args.config_file() {
            Some(path) => ConfigFile::read(path, args.source("config.file"))?,
            None => ConfigFile::default(),
        };
        Self::resolve(args, &file)
    }

    fn resolve(args: &DaemonArgs, file: &ConfigFile) -> Result<Self, ConfigError> {
        let layers = Layers { args, file };
        let (flags, table, default) = (args.flags(), file.table(), Self::default());
        let (web, alerts, log) = (&table.web, &table.alerts, &table.log);
        Ok(Self {
            listen_address: layers
                .pick(
                    "web.listen-address",
                    &flags.web_listen_address,
                    &web.listen_address,
                    &rules::LISTEN_ADDRESS,
                )?
                .unwrap_or(default.listen_address),
            telemetry_path: layers
                .pick(
                    "web.telemetry-path",
                    &flags.web_telemetry_path,
                    &web.telemetry_path,
                    &rules::TELEMETRY_PATH,
                )?
                .unwrap_or(default.telemetry_path),
            web_config_file: layers
                .pick("web.config.file", &flags.web_config_file, &web.config_file, &rules::WEB_CONFIG_FILE)?
                .unwrap_or(default.web_config_file),
            allow_unauthenticated: layers
                .pick(
                    "web.allow-unauthenticated",
                    &flags.web_allow_unauthenticated,
                    &web.allow_unauthenticated,
                    &rules::SWITCH,
                )?
                .unwrap_or(default.allow_unauthenticated),
            hostnames: layers
                .pick("web.hostnames", &flags.web_hostnames, &web.hostnames, &rules::HOSTNAMES)?
                .unwrap_or(default.hostnames),
            alertmanager: layers
                .pick(
                    "alerts.alertmanager-url",
                    &flags.alerts_alertmanager_url,
                    &alerts.alertmanager_url,
                    &rules::PLACE,
                )?
                .unwrap_or(default.alertmanager),
            webhook: layers
                .pick("alerts.webhook-url", &flags.alerts_webhook_url, &alerts.webhook_url, &rules::PLACE)?
                .unwrap_or(default.webhook),
            log: LogConfig {
                level: layers
                    .pick("log.level", &flags.log_level, &log.level, &rules::LOG_LEVEL)?
                    .unwrap_or(default.log.level),
                format: layers
                    .pick("log.format", &flags.log_format, &log.format, &rules::LOG_FORMAT)?
                    .unwrap_or(default.log.format),
            },
            owners: layers
                .pick("no-owners", &flags.no_owners, &table.no_owners, &rules::SWITCH)?
                .map_or(default.owners, |off| !off),
            attach: layers
                .pick("attach", &flags.attach, &table.attach, &rules::ATTACH)?
                .unwrap_or(default.attach),
            ring_bytes: layers
                .pick("ring-size", &flags.ring_size, &table.ring_size, &rules::RING_SIZE)?
                .unwrap_or(default.ring_bytes),
            event_memory: layers
                .pick("event-memory", &flags.event_memory, &table.event_memory, &rules::MEMORY)?
                .unwrap_or(default.event_memory),
            event_log: layers
                .pick("event-log", &flags.event_log, &table.event_log, &rules::DIRECTORY)?
                .unwrap_or(default.event_log),
            event_log_bytes: layers
                .pick("event-log-size", &flags.event_log_size, &table.event_log_size, &rules::DISK)?
                .unwrap_or(default.event_log_bytes),
            history_memory: layers
                .pick("history-memory", &flags.history_memory, &table.history_memory, &rules::MEMORY)?
                .unwrap_or(default.history_memory),
            event_rate: layers
                .pick("event-rate", &flags.event_rate, &table.event_rate, &rules::EVENT_RATE)?
                .unwrap_or(default.event_rate),
            event_burst: layers
                .pick("event-burst", &flags.event_burst, &table.event_burst, &rules::EVENT_BURST)?
                .unwrap_or(default.event_burst),
            max_listeners: layers
                .pick("max-listeners", &flags.max_listeners, &table.max_listeners, &rules::MAX_LISTENERS)?
                .unwrap_or(default.max_listeners),
            dropped_ack_cache_capacity: layers
                .pick(
                    "dropped-ack-cache-capacity",
                    &flags.dropped_ack_cache_capacity,
                    &table.dropped_ack_cache_capacity,
                    &rules::DROPPED_ACK_CACHE_CAPACITY,
                )?
                .unwrap_or(default.dropped_ack_cache_capacity),
            keep_closed: layers
                .pick("keep-closed", &flags.keep_closed, &table.keep_closed, &rules::KEEP_CLOSED)?
                .unwrap_or(default.keep_closed),
            max_series: layers
                .pick("max-series", &flags.max_series, &table.max_series, &rules::MAX_SERIES)?
                .unwrap_or(default.max_series),
            accept_wait: layers
                .pick("no-accept-wait", &flags.no_accept_wait, &table.no_accept_wait, &rules::SWITCH)?
                .map_or(default.accept_wait, |off| !off),
            queue_depth: layers
                .pick("no-queue-depth", &flags.no_queue_depth, &table.no_queue_depth, &rules::SWITCH)?
                .map_or(default.queue_depth, |off| !off),
            bpf_log: layers
                .pick("bpf-log", &flags.bpf_log, &table.bpf_log, &rules::BPF_LOG)?
                .unwrap_or(default.bpf_log),
        })
    }
}

/// Sources of a setting, the one with the highest precedence first.
struct Layers<'a> {
    args: &'a DaemonArgs,
    file: &'a ConfigFile,
}

impl Layers<'_> {
    /// Returns the setting `name` from its strongest source, parsed by `rule`; `None` if it is not set.
    fn pick<T>(
        &self,
        name: &'static str,
        argument: &Option<String>,
        in_file: &Option<Given>,
        rule: &Rule<T>,
    ) -> Result<Option<T>, ConfigError> {
        let (value, source) = match (argument, in_file) {
            (Some(value), _) => (value.as_str(), self.args.source(name)),
            (None, Some(given)) => (given.get_ref().as_str(), self.file.source(name, given)),
            (None, None) => return Ok(None),
        };
        match (rule.parse)(value) {
            Some(parsed) => Ok(Some(parsed)),
            None => {
                Err(ConfigError::Value { given_by: source, value: value.to_owned(), expected: rule.expected })
            }
        }
    }
}
